# SPDX-License-Identifier: Apache-2.0
#
# MCUboot's demo keys are public: a device that trusts one runs whatever anybody signs.
# A build of an updatable application with one of them stops, unless it is said to be a
# test.

set(REKINDLE_DEMO_KEY OFF CACHE BOOL "Trust MCUboot's public demo key: for tests only")

# A key's own text, without the lines around it and how it is broken into lines.
function(rekindle_key_text key out)
  file(READ "${key}" text)
  string(REGEX REPLACE "[ \t\r\n]" "" text "${text}")
  string(REGEX REPLACE "^.*-----BEGIN[A-Z]*KEY-----([A-Za-z0-9+/=]*)-----END.*$" "\\1" text "${text}")
  set(${out} "${text}" PARENT_SCOPE)
endfunction()

# By content: a copy of a demo key under another name is as public.
function(rekindle_is_demo_key key result)
  set(${result} OFF PARENT_SCOPE)
  rekindle_key_text("${key}" text)
  file(GLOB demo_keys "${ZEPHYR_MCUBOOT_MODULE_DIR}/*.pem")
  foreach(demo_key ${demo_keys})
    rekindle_key_text("${demo_key}" demo_text)
    if(text STREQUAL demo_text)
      set(${result} ON PARENT_SCOPE)
    endif()
  endforeach()
endfunction()

# Stops if `key` is a demo key, however it is spelled: with variables that Zephyr expands
# only when it signs, or relative to any of the places where it and MCUboot look.
function(rekindle_check_key key)
  string(CONFIGURE "${key}" key)
  string(REPLACE "\"" "" key "${key}")
  if(key STREQUAL "")
    return()
  endif()
  set(places "${APPLICATION_CONFIG_DIR}" "${APP_DIR}" "${APP_DIR}/sysbuild/mcuboot"
    "${ZEPHYR_MCUBOOT_MODULE_DIR}" "${ZEPHYR_MCUBOOT_MODULE_DIR}/boot/zephyr" "${WEST_TOPDIR}")
  set(demo OFF)
  foreach(place ${places})
    cmake_path(ABSOLUTE_PATH key BASE_DIRECTORY "${place}" OUTPUT_VARIABLE file)
    if(NOT demo AND EXISTS "${file}" AND NOT IS_DIRECTORY "${file}")
      rekindle_is_demo_key("${file}" demo)
    endif()
  endforeach()
  if(NOT demo)
    return()
  endif()
  if(NOT REKINDLE_DEMO_KEY)
    message(FATAL_ERROR
      "${key} is MCUboot's demo key. It is public: anybody can sign for a device that "
      "trusts it. Name no key for the project's own, or yours by REKINDLE_SIGNING_KEY. "
      "For a test, say -DREKINDLE_DEMO_KEY=ON.")
  endif()
  message(WARNING
    " \n"
    "  ****************************************************************\n"
    "  * MCUboot's PUBLIC DEMO KEY signs this build and is trusted by *\n"
    "  * its bootloader: ANYBODY can make images for such a device.   *\n"
    "  * For tests only; never let it leave the desk.                 *\n"
    "  ****************************************************************\n")
endfunction()

# The keys of an application's image and of the bootloader, wherever they were named.
function(rekindle_check_signing_key image)
  set(keys "${SB_CONFIG_BOOT_SIGNATURE_KEY_FILE}")
  unset(signs)
  unset(trusted)
  sysbuild_get(signs IMAGE ${image} VAR CONFIG_MCUBOOT_SIGNATURE_KEY_FILE KCONFIG)
  list(APPEND keys "${signs}")
  if(TARGET mcuboot)
    sysbuild_get(trusted IMAGE mcuboot VAR CONFIG_BOOT_SIGNATURE_KEY_FILE KCONFIG)
    list(APPEND keys "${trusted}")
  endif()
  list(REMOVE_DUPLICATES keys)
  foreach(key ${keys})
    rekindle_check_key("${key}")
  endforeach()
endfunction()
