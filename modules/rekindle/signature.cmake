# SPDX-License-Identifier: Apache-2.0
#
# The public keys of CONFIG_REKINDLE_SIGNATURE_KEYS as a C file, and the check that who
# brings the session brings the arithmetic too.

# What stands before the point in a key's SubjectPublicKeyInfo, in hex, and the point's
# length in bytes.
if(CONFIG_REKINDLE_SIGNATURE_ED25519)
  set(rekindle_algorithm "Ed25519")
  set(rekindle_head 302a300506032b6570032100)
  set(rekindle_point 32)
else()
  set(rekindle_algorithm "ECDSA P-256")
  set(rekindle_head 3059301306072a8648ce3d020106082a8648ce3d030107034200)
  set(rekindle_point 65)
endif()

find_program(REKINDLE_IMGTOOL NAMES imgtool imgtool.py
  HINTS ${ZEPHYR_MCUBOOT_MODULE_DIR}/scripts $ENV{ZEPHYR_BASE}/../bootloader/mcuboot/scripts REQUIRED)

# `hex` as bytes for the compiler, in <out>.
function(rekindle_hex_bytes hex out)
  string(REGEX MATCHALL ".." bytes "${hex}")
  list(TRANSFORM bytes PREPEND "0x")
  list(JOIN bytes ", " bytes)
  set(${out} "${bytes}" PARENT_SCOPE)
endfunction()

# The file of a key, found as Zephyr finds that of CONFIG_MCUBOOT_SIGNATURE_KEY_FILE.
function(rekindle_key_file name out)
  foreach(base "" ${APPLICATION_CONFIG_DIR}/ ${WEST_TOPDIR}/)
    if((base OR IS_ABSOLUTE ${name}) AND EXISTS ${base}${name})
      set(${out} ${base}${name} PARENT_SCOPE)
      return()
    endif()
  endforeach()
  message(FATAL_ERROR "CONFIG_REKINDLE_SIGNATURE_KEYS: there is no ${name}, neither as it stands nor in ${APPLICATION_CONFIG_DIR} or ${WEST_TOPDIR}")
endfunction()

# The key in FILE, public or private: its name and its point, as bytes for the compiler. Only
# the public half is ever taken out of the file.
function(rekindle_read_key file name_out point_out)
  set(raw ${CMAKE_CURRENT_BINARY_DIR}/rekindle_key.bin)
  execute_process(
    COMMAND ${REKINDLE_IMGTOOL} getpub --key ${file} --encoding raw --output ${raw}
    RESULT_VARIABLE code
    OUTPUT_VARIABLE said
    ERROR_VARIABLE said
  )
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "CONFIG_REKINDLE_SIGNATURE_KEYS: imgtool cannot read ${file}:\n${said}")
  endif()
  file(READ ${raw} hex HEX)
  file(SHA256 ${raw} hash)
  file(REMOVE ${raw})
  math(EXPR digits "2 * ${rekindle_point}")
  if(NOT hex MATCHES "^${rekindle_head}(.*)$")
    message(FATAL_ERROR "CONFIG_REKINDLE_SIGNATURE_KEYS: ${file} is no ${rekindle_algorithm} key, which Kconfig's choice REKINDLE_SIGNATURE asks for")
  endif()
  set(point ${CMAKE_MATCH_1})
  string(LENGTH "${point}" length)
  if(NOT length EQUAL digits)
    message(FATAL_ERROR "CONFIG_REKINDLE_SIGNATURE_KEYS: ${file} has no ${rekindle_algorithm} point of ${rekindle_point} bytes")
  endif()
  rekindle_hex_bytes(${hash} name)
  rekindle_hex_bytes(${point} bytes)
  set(${name_out} "${name}" PARENT_SCOPE)
  set(${point_out} "${bytes}" PARENT_SCOPE)
endfunction()

set(rekindle_names "")
set(rekindle_points "")
set(rekindle_count 0)
separate_arguments(rekindle_key_list UNIX_COMMAND "${CONFIG_REKINDLE_SIGNATURE_KEYS}")
foreach(rekindle_key IN LISTS rekindle_key_list)
  rekindle_key_file(${rekindle_key} rekindle_file)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${rekindle_file})
  rekindle_read_key(${rekindle_file} rekindle_name rekindle_bytes)
  string(APPEND rekindle_names "\t{${rekindle_name}},\n")
  string(APPEND rekindle_points "\t${rekindle_bytes},\n")
  math(EXPR rekindle_count "${rekindle_count} + 1")
  message(STATUS "Rekindle: signatures by ${rekindle_file} count")
endforeach()
if(rekindle_count EQUAL 0)
  # With none the session would check nothing.
  message(FATAL_ERROR "CONFIG_REKINDLE_SIGNATURE_KEYS names no key")
endif()

file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/rekindle_keys.c @ONLY CONTENT [[
/* Made by modules/rekindle/signature.cmake. */
#include <rekindle/port.h>

static const uint8_t names[][32] = {
@rekindle_names@};

static const uint8_t points[] = {
@rekindle_points@};

const struct rekindle_keys rekindle_keys = {
	.names = names,
	.points = points,
	.count = @rekindle_count@,
};
]])
zephyr_library_sources(${CMAKE_CURRENT_BINARY_DIR}/rekindle_keys.c)
zephyr_library_sources_ifdef(CONFIG_REKINDLE_SIGNATURE_PSA src/signature_psa.c)

# Defined by the crate rekindle-zephyr where it has the feature of this name. Without it an
# application that is to check signatures would check none, and nobody would notice.
if(CONFIG_REKINDLE_SIGNATURE_P256)
  set(rekindle_feature p256)
elseif(CONFIG_REKINDLE_SIGNATURE_ED25519)
  set(rekindle_feature ed25519)
else()
  set(rekindle_feature psa)
endif()
if(NOT CONFIG_REKINDLE_API_NONE)
  zephyr_ld_options(-Wl,--require-defined=rekindle_checks_${rekindle_feature})
endif()
