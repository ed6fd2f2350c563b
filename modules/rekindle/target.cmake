# SPDX-License-Identifier: Apache-2.0
#
# The vendor and class that an image must name, as bytes for the compiler. A name becomes
# a UUID as imgtool makes it: that of the vendor in the namespace of domain names, that of
# the class in the vendor's.

# The bytes of UUID, each as 0xNN, in <out>.
function(rekindle_uuid_bytes uuid out)
  string(REPLACE "-" "" hex "${uuid}")
  string(REGEX MATCHALL ".." bytes "${hex}")
  list(TRANSFORM bytes PREPEND "0x")
  list(JOIN bytes "," bytes)
  set(${out} "${bytes}" PARENT_SCOPE)
endfunction()

# The UUID that NAME stands for within NAMESPACE, in <out>.
function(rekindle_uuid name namespace out)
  string(REGEX REPLACE "[0-9a-fA-F]" "x" shape "${name}")
  if(shape STREQUAL "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" OR shape STREQUAL "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")
    set(${out} "${name}" PARENT_SCOPE)
  elseif(namespace STREQUAL "")
    message(FATAL_ERROR "CONFIG_REKINDLE_TARGET_CLASS is a name, so it needs CONFIG_REKINDLE_TARGET_VENDOR")
  else()
    # CMake wants the dashes in a namespace.
    string(REPLACE "-" "" hex "${namespace}")
    string(REGEX REPLACE "^(........)(....)(....)(....)(............)$" "\\1-\\2-\\3-\\4-\\5" dashed "${hex}")
    string(UUID uuid NAMESPACE ${dashed} NAME "${name}" TYPE SHA1)
    set(${out} "${uuid}" PARENT_SCOPE)
  endif()
endfunction()

set(rekindle_vendor "")
if(NOT "${CONFIG_REKINDLE_TARGET_VENDOR}" STREQUAL "")
  set(rekindle_dns 6ba7b810-9dad-11d1-80b4-00c04fd430c8)
  rekindle_uuid("${CONFIG_REKINDLE_TARGET_VENDOR}" ${rekindle_dns} rekindle_vendor)
  rekindle_uuid_bytes("${rekindle_vendor}" rekindle_bytes)
  zephyr_library_compile_definitions(REKINDLE_VENDOR_ID=${rekindle_bytes})
endif()
if(NOT "${CONFIG_REKINDLE_TARGET_CLASS}" STREQUAL "")
  rekindle_uuid("${CONFIG_REKINDLE_TARGET_CLASS}" "${rekindle_vendor}" rekindle_class)
  rekindle_uuid_bytes("${rekindle_class}" rekindle_bytes)
  zephyr_library_compile_definitions(REKINDLE_CLASS_ID=${rekindle_bytes})
endif()
