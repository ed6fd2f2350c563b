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

# MCUboot's default key is public, so a device that trusts it trusts everybody.
# Without a key of the user's choice every build directory gets one of its own.
if(NOT DEFINED SB_CONFIG_BOOT_SIGNATURE_KEY_FILE)
  set(REKINDLE_SIGNING_KEY "$ENV{REKINDLE_SIGNING_KEY}"
      CACHE FILEPATH "Private key (PEM, ECDSA P-256) that signs images and that MCUboot trusts")
  if(REKINDLE_SIGNING_KEY STREQUAL "")
    set(rekindle_key ${CMAKE_BINARY_DIR}/development-key.pem)
    if(NOT EXISTS ${rekindle_key})
      find_program(REKINDLE_IMGTOOL NAMES imgtool imgtool.py REQUIRED)
      execute_process(
        COMMAND ${REKINDLE_IMGTOOL} keygen -t ecdsa-p256 -k ${rekindle_key}
        COMMAND_ERROR_IS_FATAL ANY
      )
      message(STATUS "Made a development key: ${rekindle_key}")
    endif()
  else()
    get_filename_component(rekindle_key ${REKINDLE_SIGNING_KEY} ABSOLUTE)
  endif()
  set(SB_CONFIG_BOOT_SIGNATURE_KEY_FILE "\"${rekindle_key}\"" CACHE STRING "Signing key")
endif()
