# SPDX-License-Identifier: Apache-2.0
#
# One file for the boot ROM's USB drive: MCUboot and the signed image, each where it
# belongs. The application's own zephyr.uf2 is neither signed nor in its slot.

# What makes a controller's store empty, as options of combined_uf2.py: root mode is to end with
# a factory flash, and lies there. littlefs finds nothing where its first two blocks are blank,
# and a store in which nothing is found is formatted.
function(rekindle_blank_store image out)
  set(${out} "" PARENT_SCOPE)
  sysbuild_get(controller IMAGE ${image} VAR CONFIG_REKINDLE_CONTROLLER KCONFIG)
  if(NOT controller)
    return()
  endif()
  sysbuild_get(base IMAGE ${image} VAR CONFIG_FLASH_BASE_ADDRESS KCONFIG)
  dt_nodelabel(files NODELABEL files_partition REQUIRED TARGET ${image})
  dt_prop(offset PATH ${files} PROPERTY reg INDEX 0 REQUIRED TARGET ${image})
  dt_chosen(flash PROPERTY "zephyr,flash" TARGET ${image})
  dt_prop(block PATH ${flash} PROPERTY erase-block-size REQUIRED TARGET ${image})
  math(EXPR address "${base} + ${offset}" OUTPUT_FORMAT HEXADECIMAL)
  math(EXPR size "2 * ${block}")
  set(${out} --blank ${address}:${size} PARENT_SCOPE)
endfunction()

function(rekindle_add_combined_uf2 image)
  sysbuild_get(rp2350 IMAGE ${image} VAR CONFIG_SOC_SERIES_RP2350 KCONFIG)
  # Under QEMU a test writes it into the flash as the boot ROM would.
  if("${BOARD}${BOARD_QUALIFIERS}" STREQUAL "mps2/an521/cpu0/mcuboot" AND image STREQUAL DEFAULT_IMAGE)
    sysbuild_get(tested IMAGE ${image} VAR CONFIG_REKINDLE_CONTROLLER KCONFIG)
  endif()
  if(NOT (rp2350 OR tested) OR NOT TARGET mcuboot)
    return()
  endif()
  rekindle_blank_store(${image} blank)
  # Where each was linked to run; a signed image starts at its slot, header first.
  foreach(each mcuboot ${image})
    sysbuild_get(flash IMAGE ${each} VAR CONFIG_FLASH_BASE_ADDRESS KCONFIG)
    sysbuild_get(offset IMAGE ${each} VAR CONFIG_FLASH_LOAD_OFFSET KCONFIG)
    math(EXPR ${each}_address "${flash} + ${offset}" OUTPUT_FORMAT HEXADECIMAL)
    ExternalProject_Get_Property(${each} BINARY_DIR)
    sysbuild_get(name IMAGE ${each} VAR CONFIG_KERNEL_BIN_NAME KCONFIG)
    set(${each}_path ${BINARY_DIR}/zephyr/${name})
  endforeach()
  add_custom_target(combined_uf2 ALL
    COMMAND ${PYTHON_EXECUTABLE} ${REKINDLE_DIR}/scripts/lib/combined_uf2.py
      ${CMAKE_BINARY_DIR}/combined.uf2
      ${mcuboot_address}:${mcuboot_path}.bin
      ${${image}_address}:${${image}_path}.signed.bin
      ${blank}
    COMMENT "Bootloader and signed image in one file: combined.uf2"
    VERBATIM
  )
  add_dependencies(combined_uf2 mcuboot ${image})
endfunction()
