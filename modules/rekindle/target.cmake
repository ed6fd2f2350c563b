# SPDX-License-Identifier: Apache-2.0
#
# Vendors and classes that images must name, as bytes for the compiler. A name becomes
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

# The UUID that the value of OPTION stands for within NAMESPACE, in <out>.
function(rekindle_uuid option namespace out)
  set(name "${${option}}")
  string(REGEX REPLACE "[0-9a-fA-F]" "x" shape "${name}")
  if(shape STREQUAL "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" OR shape STREQUAL "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")
    set(${out} "${name}" PARENT_SCOPE)
  elseif(namespace STREQUAL "")
    string(REGEX REPLACE "_CLASS$" "_VENDOR" vendor ${option})
    message(FATAL_ERROR "${option} is a name, so it needs ${vendor}")
  else()
    # CMake wants the dashes in a namespace.
    string(REPLACE "-" "" hex "${namespace}")
    string(REGEX REPLACE "^(........)(....)(....)(....)(............)$" "\\1-\\2-\\3-\\4-\\5" dashed "${hex}")
    string(UUID uuid NAMESPACE ${dashed} NAME "${name}" TYPE SHA1)
    set(${out} "${uuid}" PARENT_SCOPE)
  endif()
endfunction()

# <option>_VENDOR and <option>_CLASS as the definitions <prefix>VENDOR_ID and
# <prefix>CLASS_ID, where they are set.
function(rekindle_target option prefix)
  set(vendor "")
  if(NOT "${${option}_VENDOR}" STREQUAL "")
    set(dns 6ba7b810-9dad-11d1-80b4-00c04fd430c8)
    rekindle_uuid(${option}_VENDOR ${dns} vendor)
    rekindle_uuid_bytes("${vendor}" bytes)
    zephyr_library_compile_definitions(${prefix}VENDOR_ID=${bytes})
  endif()
  if(NOT "${${option}_CLASS}" STREQUAL "")
    rekindle_uuid(${option}_CLASS "${vendor}" class)
    rekindle_uuid_bytes("${class}" bytes)
    zephyr_library_compile_definitions(${prefix}CLASS_ID=${bytes})
  endif()
endfunction()

rekindle_target(CONFIG_REKINDLE_TARGET REKINDLE_)
if(CONFIG_REKINDLE_CONTROLLER)
  rekindle_target(CONFIG_REKINDLE_CONTROLLER_PRODUCT REKINDLE_PRODUCT_)
endif()
