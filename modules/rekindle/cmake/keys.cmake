# SPDX-License-Identifier: Apache-2.0
#
# The controller's trusted keys: the public halves of the PEM files that Kconfig names, as bytes for the compiler.

include(${CMAKE_CURRENT_LIST_DIR}/public_key.cmake)

set(rekindle_arrays "")
set(rekindle_table "")
set(rekindle_count 0)
separate_arguments(rekindle_key_list UNIX_COMMAND "${CONFIG_REKINDLE_CONTROLLER_KEYS}")
foreach(rekindle_key IN LISTS rekindle_key_list)
  rekindle_key_file("${rekindle_key}" rekindle_file)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${rekindle_file})
  set(rekindle_der ${CMAKE_CURRENT_BINARY_DIR}/trusted_${rekindle_count}.der)
  rekindle_key_der(${rekindle_file} ${rekindle_der})
  file(READ ${rekindle_der} rekindle_hex HEX)
  rekindle_hex_bytes(${rekindle_hex} rekindle_bytes)
  string(APPEND rekindle_arrays "static const uint8_t key_${rekindle_count}[] = {${rekindle_bytes}};\n")
  string(APPEND rekindle_table "\t{key_${rekindle_count}, sizeof(key_${rekindle_count})},\n")
  math(EXPR rekindle_count "${rekindle_count} + 1")
  message(STATUS "Rekindle: images signed by ${rekindle_file} are forwarded")
endforeach()
if(rekindle_count EQUAL 0)
  message(FATAL_ERROR "CONFIG_REKINDLE_CONTROLLER_KEYS names no key: the controller would forward nothing")
elseif(rekindle_count GREATER 4)
  message(FATAL_ERROR "CONFIG_REKINDLE_CONTROLLER_KEYS names ${rekindle_count} keys; a controller knows four")
endif()

set(rekindle_keys_dir ${CMAKE_CURRENT_BINARY_DIR}/controller)
file(CONFIGURE OUTPUT ${rekindle_keys_dir}/rekindle_keys.inc @ONLY
  CONTENT "${rekindle_arrays}\nstatic const struct key keys[] = {\n${rekindle_table}};\n")
zephyr_library_include_directories(${rekindle_keys_dir})
