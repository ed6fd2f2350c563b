# SPDX-License-Identifier: Apache-2.0
#
# MCUboot's demo keys are public: a device that trusts one runs whatever anybody signs.
# A build of an updatable application with one of them stops, unless it is said to be a
# test.

set(REKINDLE_DEMO_KEY OFF CACHE BOOL "Trust MCUboot's public demo key: for tests only")

# By content: a copy of a demo key under another name is as public.
function(rekindle_is_demo_key key result)
  set(${result} OFF PARENT_SCOPE)
  file(SHA256 "${key}" digest)
  file(GLOB demo_keys "${ZEPHYR_MCUBOOT_MODULE_DIR}/*.pem")
  foreach(demo_key ${demo_keys})
    file(SHA256 "${demo_key}" demo_digest)
    if(digest STREQUAL demo_digest)
      set(${result} ON PARENT_SCOPE)
    endif()
  endforeach()
endfunction()

function(rekindle_check_signing_key)
  string(REPLACE "\"" "" key "${SB_CONFIG_BOOT_SIGNATURE_KEY_FILE}")
  if(NOT EXISTS "${key}")
    return()
  endif()
  rekindle_is_demo_key("${key}" demo)
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
