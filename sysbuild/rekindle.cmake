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

if(NOT DEFINED SB_CONF_FILE AND NOT DEFINED ENV{SB_CONF_FILE})
  set(SB_CONF_FILE ${REKINDLE_DIR}/sysbuild/sysbuild.conf CACHE STRING "Sysbuild's configuration")
endif()

# MCUboot takes a shared fragment; one that is given on the command line is added
# to it, not put in its place.
list(FIND mcuboot_EXTRA_CONF_FILE ${REKINDLE_DIR}/sysbuild/mcuboot.conf rekindle_found)
if(rekindle_found EQUAL -1)
  set(mcuboot_EXTRA_CONF_FILE "${REKINDLE_DIR}/sysbuild/mcuboot.conf;${mcuboot_EXTRA_CONF_FILE}"
      CACHE STRING "Fragments for MCUboot's configuration" FORCE)
endif()

# MCUboot's serial recovery, the way back in when nothing else answers.
option(REKINDLE_RECOVERY "Serial recovery in MCUboot, on the UART chosen as zephyr,uart-mcumgr")
list(FIND mcuboot_EXTRA_CONF_FILE ${REKINDLE_DIR}/sysbuild/recovery.conf rekindle_found)
if(REKINDLE_RECOVERY AND rekindle_found EQUAL -1)
  set(mcuboot_EXTRA_CONF_FILE "${REKINDLE_DIR}/sysbuild/recovery.conf;${mcuboot_EXTRA_CONF_FILE}"
      CACHE STRING "Fragments for MCUboot's configuration" FORCE)
endif()

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

if(NOT DEFINED SB_CONFIG_BOOT_SIGNATURE_KEY_FILE)
  set(REKINDLE_SIGNING_KEY "$ENV{REKINDLE_SIGNING_KEY}"
      CACHE FILEPATH "Private key (PEM; ECDSA P-256, or Ed25519 where MCUboot is told so) that signs images and that MCUboot trusts")
  if(NOT REKINDLE_SIGNING_KEY STREQUAL "")
    get_filename_component(rekindle_key ${REKINDLE_SIGNING_KEY} ABSOLUTE)
  elseif(SB_CONFIG_BOOT_SIGNATURE_TYPE_ED25519)
    set(rekindle_key ${REKINDLE_DIR}/keys/project-ed25519.pem)
    rekindle_make_key(${rekindle_key} ed25519)
  else()
    set(rekindle_key ${REKINDLE_DIR}/keys/project.pem)
    rekindle_make_key(${rekindle_key} ecdsa-p256)
  endif()
  message(STATUS "Images are signed with ${rekindle_key}")
  set(SB_CONFIG_BOOT_SIGNATURE_KEY_FILE "\"${rekindle_key}\"" CACHE STRING "Signing key")
endif()
