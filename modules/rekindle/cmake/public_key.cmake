# SPDX-License-Identifier: Apache-2.0
#
# Public keys out of PEM files.

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
    if((base OR IS_ABSOLUTE "${name}") AND EXISTS ${base}${name})
      set(${out} ${base}${name} PARENT_SCOPE)
      return()
    endif()
  endforeach()
  message(FATAL_ERROR "Rekindle: there is no ${name}, neither as it stands nor in ${APPLICATION_CONFIG_DIR} or ${WEST_TOPDIR}")
endfunction()

# The key in FILE, public or private: its SubjectPublicKeyInfo in DER, in the file RAW. Only the public half is ever
# taken out.
function(rekindle_key_der file raw)
  execute_process(
    COMMAND ${REKINDLE_IMGTOOL} getpub --key ${file} --encoding raw --output ${raw}
    RESULT_VARIABLE code
    OUTPUT_VARIABLE said
    ERROR_VARIABLE said
  )
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "Rekindle: imgtool cannot read ${file}:\n${said}")
  endif()
endfunction()

# The key in FILE, public or private, which must be of ALGORITHM (ECDSA P-256 or Ed25519): its
# name and its point, as bytes for the compiler.
function(rekindle_read_key file algorithm name_out point_out)
  # What stands before the point in a key's SubjectPublicKeyInfo, in hex (RFC 5480, RFC 8410),
  # and how many digits the point has.
  if(algorithm STREQUAL "Ed25519")
    set(head 302a300506032b6570032100)
    set(digits 64)
  else()
    set(head 3059301306072a8648ce3d020106082a8648ce3d030107034200)
    set(digits 130)
  endif()
  set(raw ${CMAKE_CURRENT_BINARY_DIR}/rekindle_key.bin)
  rekindle_key_der(${file} ${raw})
  file(READ ${raw} hex HEX)
  file(SHA256 ${raw} hash)
  file(REMOVE ${raw})
  set(point "")
  if(hex MATCHES "^${head}([0-9a-f]+)$")
    set(point ${CMAKE_MATCH_1})
  endif()
  string(LENGTH "${point}" length)
  if(NOT length EQUAL digits)
    message(FATAL_ERROR "CONFIG_REKINDLE_SIGNATURE_KEYS: ${file} is no ${algorithm} key, which Kconfig's choice REKINDLE_SIGNATURE asks for")
  endif()
  rekindle_hex_bytes(${hash} name)
  rekindle_hex_bytes(${point} bytes)
  set(${name_out} "${name}" PARENT_SCOPE)
  set(${point_out} "${bytes}" PARENT_SCOPE)
endfunction()
