# SPDX-License-Identifier: Apache-2.0
#
# What the applications' sysbuild/CMakeLists.txt have in common. To be included
# before find_package(Sysbuild).

include_guard(GLOBAL)

get_filename_component(REKINDLE_DIR ${CMAKE_CURRENT_LIST_DIR} DIRECTORY)

# The repository is a Zephyr module. In a workspace of its own manifest west knows
# that already (a module given twice counts once); in any other workspace the
# application brings it along, for itself and for MCUboot, which needs its boards.
set(rekindle_modules ${EXTRA_ZEPHYR_MODULES} ${REKINDLE_DIR})
list(REMOVE_DUPLICATES rekindle_modules)
set(EXTRA_ZEPHYR_MODULES "${rekindle_modules}" CACHE STRING "Modules beside those of the manifest" FORCE)

# What this repository says comes first and the application's own files after it, so that
# theirs is the last word; the command line's comes later still, by sysbuild's own rules.
# Nothing of it is remembered from one configure to the next but what the command line said.

# <out>: FILE, or what stands in its place for -DFILE_SUFFIX=…; empty if there is neither.
function(rekindle_own_file file out)
  set(${out} "" PARENT_SCOPE)
  string(REGEX REPLACE "\\.conf$" "_${FILE_SUFFIX}.conf" suffixed "${file}")
  foreach(candidate ${suffixed} ${file})
    if(EXISTS ${candidate})
      set(${out} ${candidate} PARENT_SCOPE)
      return()
    endif()
  endforeach()
endfunction()

# Configuration files as sysbuild finds them: relative ones beside the application.
function(rekindle_absolute files out)
  set(found "")
  string(CONFIGURE "${files}" files)
  string(REPLACE " " ";" files "${files}")
  foreach(file ${files})
    cmake_path(ABSOLUTE_PATH file BASE_DIRECTORY "${APP_DIR}")
    list(APPEND found ${file})
  endforeach()
  set(${out} "${found}" PARENT_SCOPE)
endfunction()

# Sysbuild's own configuration. It caches the list, so ours is told from the command line's.
if(NOT DEFINED SB_CONF_FILE AND DEFINED ENV{SB_CONF_FILE})
  set(SB_CONF_FILE $ENV{SB_CONF_FILE})
elseif(NOT DEFINED SB_CONF_FILE OR SB_CONF_FILE STREQUAL "${REKINDLE_SB_CONF_FILE}")
  set(rekindle_config_dir "${APP_DIR}")
  foreach(directory SB_APPLICATION_CONFIG_DIR APPLICATION_CONFIG_DIR)
    if(DEFINED ${directory})
      rekindle_absolute("${${directory}}" rekindle_config_dir)
      break()
    endif()
  endforeach()
  rekindle_own_file(${rekindle_config_dir}/sysbuild.conf rekindle_own)
  set(SB_CONF_FILE ${REKINDLE_DIR}/sysbuild/sysbuild.conf ${rekindle_own})
  set(REKINDLE_SB_CONF_FILE "${SB_CONF_FILE}" CACHE INTERNAL "What SB_CONF_FILE is by default")
  set(SB_CONF_FILE "${SB_CONF_FILE}" CACHE STRING "Sysbuild's configuration" FORCE)
endif()
if(NOT DEFINED SB_EXTRA_CONF_FILE AND DEFINED SB_OVERLAY_CONFIG)
  set(SB_EXTRA_CONF_FILE ${SB_OVERLAY_CONFIG})
endif()
rekindle_absolute("${SB_CONF_FILE};${SB_EXTRA_CONF_FILE}" rekindle_sb_files)
message(STATUS "Sysbuild is configured by ${rekindle_sb_files}")

# MCUboot takes a shared fragment, the application's own ones, and those that the command
# line adds.
option(REKINDLE_RECOVERY "Serial recovery in MCUboot, on the UART chosen as zephyr,uart-mcumgr")
set(rekindle_given ${mcuboot_EXTRA_CONF_FILE})
list(REMOVE_ITEM rekindle_given "" ${REKINDLE_MCUBOOT_CONF_FILE})
set(rekindle_mcuboot ${REKINDLE_DIR}/sysbuild/mcuboot.conf)
if(REKINDLE_RECOVERY)
  list(APPEND rekindle_mcuboot ${REKINDLE_DIR}/sysbuild/recovery.conf)
endif()
if(NOT mcuboot_CONF_FILE)
  # The one in a directory takes the place of MCUboot's own prj.conf, which ours would
  # follow: it is said once more.
  foreach(file mcuboot/prj.conf mcuboot.conf)
    rekindle_own_file(${APP_DIR}/sysbuild/${file} rekindle_own)
    list(APPEND rekindle_mcuboot ${rekindle_own})
  endforeach()
endif()
list(REMOVE_ITEM rekindle_given ${rekindle_mcuboot})
set(REKINDLE_MCUBOOT_CONF_FILE "${rekindle_mcuboot}" CACHE INTERNAL "What was added for MCUboot")
set(mcuboot_EXTRA_CONF_FILE "${rekindle_mcuboot};${rekindle_given}"
    CACHE STRING "Fragments for MCUboot's configuration" FORCE)
message(STATUS "MCUboot's own configuration is followed by ${rekindle_mcuboot} ${rekindle_given}")

# MCUboot's default key is public, so a device that trusts it trusts everybody. The first
# build makes a key for this checkout, which all of its builds share: an image of one
# updates a device of another. Git ignores it; whoever ships devices keeps a key elsewhere.
function(rekindle_make_key key kind)
  get_filename_component(directory ${key} DIRECTORY)
  file(MAKE_DIRECTORY ${directory})
  # Of two first builds at once, one makes the key.
  file(LOCK ${directory}/.lock GUARD FUNCTION TIMEOUT 60)
  if(EXISTS ${key})
    return()
  endif()
  find_program(REKINDLE_IMGTOOL NAMES imgtool imgtool.py
    HINTS $ENV{ZEPHYR_BASE}/../bootloader/mcuboot/scripts REQUIRED)
  execute_process(
    COMMAND ${REKINDLE_IMGTOOL} keygen -t ${kind} -k ${key}.new
    COMMAND_ERROR_IS_FATAL ANY
  )
  file(CHMOD ${key}.new PERMISSIONS OWNER_READ OWNER_WRITE)
  file(RENAME ${key}.new ${key})
  message(STATUS "Made a signing key for this checkout: ${key}")
endfunction()

# <out>: what SETTING is by the command line, now or in an earlier configure, or else by the
# last of the files that names it; empty if none does.
function(rekindle_said setting files out)
  foreach(variable SB_CONFIG_${setting} CLI_SB_CONFIG_${setting})
    if(DEFINED ${variable})
      set(${out} "${${variable}}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
  set(said "")
  foreach(file ${files})
    if(EXISTS ${file})
      file(STRINGS ${file} lines REGEX "^[ \t]*SB_CONFIG_${setting}=")
      foreach(line ${lines})
        string(REGEX REPLACE "^[^=]*=[ \t]*" "" said "${line}")
      endforeach()
    endif()
  endforeach()
  set(${out} "${said}" PARENT_SCOPE)
endfunction()

# The signature's type: of a choice, the last that was said.
function(rekindle_signature_type files out)
  set(type "")
  foreach(each ECDSA_P256 ED25519 RSA NONE)
    foreach(variable SB_CONFIG_BOOT_SIGNATURE_TYPE_${each} CLI_SB_CONFIG_BOOT_SIGNATURE_TYPE_${each})
      if("${${variable}}" MATCHES "^(y|Y|ON|1)")
        set(${out} ${each} PARENT_SCOPE)
        return()
      endif()
    endforeach()
  endforeach()
  foreach(file ${files})
    if(EXISTS ${file})
      file(STRINGS ${file} lines REGEX "^[ \t]*SB_CONFIG_BOOT_SIGNATURE_TYPE_[A-Z0-9_]+=[ \t]*y")
      foreach(line ${lines})
        string(REGEX REPLACE "^[ \t]*SB_CONFIG_BOOT_SIGNATURE_TYPE_([A-Z0-9_]+)=.*" "\\1" type "${line}")
      endforeach()
    endif()
  endforeach()
  set(${out} "${type}" PARENT_SCOPE)
endfunction()

set(REKINDLE_SIGNING_KEY "$ENV{REKINDLE_SIGNING_KEY}"
    CACHE FILEPATH "Private key (PEM; ECDSA P-256, or Ed25519 where MCUboot is told so) that signs images and that MCUboot trusts")
rekindle_said(BOOT_SIGNATURE_KEY_FILE "${rekindle_sb_files}" rekindle_said_key)
rekindle_signature_type("${rekindle_sb_files}" rekindle_type)
set(rekindle_key "")
if(DEFINED SB_CONFIG_BOOT_SIGNATURE_KEY_FILE OR DEFINED CLI_SB_CONFIG_BOOT_SIGNATURE_KEY_FILE)
  message(STATUS "Images are signed with ${rekindle_said_key}, as the command line says")
elseif(NOT REKINDLE_SIGNING_KEY STREQUAL "")
  get_filename_component(rekindle_key ${REKINDLE_SIGNING_KEY} ABSOLUTE)
  if(rekindle_said_key)
    message(STATUS "REKINDLE_SIGNING_KEY takes the place of ${rekindle_said_key}")
  endif()
elseif(rekindle_said_key)
  message(STATUS "Images are signed with ${rekindle_said_key}, as sysbuild's configuration says")
elseif(rekindle_type STREQUAL "ED25519")
  set(rekindle_key ${REKINDLE_DIR}/keys/project-ed25519.pem)
  rekindle_make_key(${rekindle_key} ed25519)
elseif(rekindle_type STREQUAL "ECDSA_P256")
  set(rekindle_key ${REKINDLE_DIR}/keys/project.pem)
  rekindle_make_key(${rekindle_key} ecdsa-p256)
else()
  # Zephyr's default is then MCUboot's demo key, at which demo_key.cmake stops.
  message(STATUS "No key is made for signatures of this type: name one by REKINDLE_SIGNING_KEY")
endif()
if(rekindle_key)
  message(STATUS "Images are signed with ${rekindle_key}")
  # Not beside the build's own files, where Zephyr takes every *.conf for configuration.
  set(rekindle_key_conf ${CMAKE_BINARY_DIR}/rekindle/signing_key.conf)
  file(CONFIGURE OUTPUT ${rekindle_key_conf}
    CONTENT "SB_CONFIG_BOOT_SIGNATURE_KEY_FILE=\"@rekindle_key@\"\n" @ONLY)
  set(SB_EXTRA_CONF_FILE ${SB_EXTRA_CONF_FILE} ${rekindle_key_conf})
endif()
