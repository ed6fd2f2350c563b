# SPDX-License-Identifier: Apache-2.0
#
# The public keys of CONFIG_REKINDLE_SIGNATURE_KEYS as a C file, and the check that who
# brings the session brings the arithmetic too.

if(CONFIG_REKINDLE_SIGNATURE_ED25519)
  set(rekindle_algorithm Ed25519)
else()
  set(rekindle_algorithm "ECDSA P-256")
endif()

include(${CMAKE_CURRENT_LIST_DIR}/cmake/public_key.cmake)

set(rekindle_names "")
set(rekindle_points "")
set(rekindle_count 0)
separate_arguments(rekindle_key_list UNIX_COMMAND "${CONFIG_REKINDLE_SIGNATURE_KEYS}")
foreach(rekindle_key IN LISTS rekindle_key_list)
  rekindle_key_file("${rekindle_key}" rekindle_file)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${rekindle_file})
  rekindle_read_key(${rekindle_file} "${rekindle_algorithm}" rekindle_name rekindle_bytes)
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
if(CONFIG_REKINDLE_SIGNATURE_PSA)
  zephyr_library_sources(src/signature_psa.c)
  # Where its headers are; those of TF-M are everybody's.
  zephyr_library_link_libraries_ifdef(CONFIG_MBEDTLS mbedTLS)
endif()

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
  # Not by zephyr_ld_options(): it tries an option first, and drops one that does not link.
  target_link_options(zephyr_interface INTERFACE
    -Wl,--require-defined=rekindle_checks_${rekindle_feature})
endif()
