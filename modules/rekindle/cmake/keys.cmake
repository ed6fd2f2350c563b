# SPDX-License-Identifier: Apache-2.0
#
# The controller's trusted keys: the public halves of the PEM files that Kconfig names, as bytes for the compiler.

set(rekindle_key_files "${CONFIG_REKINDLE_CONTROLLER_KEYS}")
if(rekindle_key_files STREQUAL "")
  message(FATAL_ERROR "CONFIG_REKINDLE_CONTROLLER_KEYS names no key: the controller would forward nothing")
endif()
find_program(REKINDLE_IMGTOOL NAMES imgtool imgtool.py
  HINTS ${ZEPHYR_MCUBOOT_MODULE_DIR}/scripts REQUIRED)

set(rekindle_arrays "")
set(rekindle_table "")
set(rekindle_number 0)
foreach(file ${rekindle_key_files})
  # As for MCUboot's key: a relative path is one below the application.
  get_filename_component(file ${file} ABSOLUTE BASE_DIR ${APPLICATION_SOURCE_DIR})
  set(der ${CMAKE_CURRENT_BINARY_DIR}/trusted_${rekindle_number}.der)
  execute_process(
    COMMAND ${REKINDLE_IMGTOOL} getpub --key ${file} --encoding raw --output ${der}
    RESULT_VARIABLE failed
  )
  if(failed)
    message(FATAL_ERROR "CONFIG_REKINDLE_CONTROLLER_KEYS: ${file} is no key that imgtool can read")
  endif()
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(READ ${der} hex HEX)
  string(REGEX MATCHALL ".." bytes "${hex}")
  list(TRANSFORM bytes PREPEND "0x")
  list(JOIN bytes "," bytes)
  string(APPEND rekindle_arrays "static const uint8_t key_${rekindle_number}[] = {${bytes}};\n")
  string(APPEND rekindle_table "\t{key_${rekindle_number}, sizeof(key_${rekindle_number})},\n")
  math(EXPR rekindle_number "${rekindle_number} + 1")
endforeach()
if(rekindle_number GREATER 4)
  message(FATAL_ERROR "CONFIG_REKINDLE_CONTROLLER_KEYS names ${rekindle_number} keys; a controller knows four")
endif()

set(rekindle_keys_dir ${CMAKE_CURRENT_BINARY_DIR}/controller)
file(CONFIGURE OUTPUT ${rekindle_keys_dir}/rekindle_keys.inc
  CONTENT "${rekindle_arrays}\nstatic const struct key keys[] = {\n${rekindle_table}};\n" @ONLY)
zephyr_library_include_directories(${rekindle_keys_dir})
