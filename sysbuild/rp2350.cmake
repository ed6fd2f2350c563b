# SPDX-License-Identifier: Apache-2.0
#
# One file for the boot ROM's USB drive: MCUboot and the signed image, each where it
# belongs. The application's own zephyr.uf2 is neither signed nor in its slot.

function(rekindle_add_combined_uf2 image)
  sysbuild_get(rp2350 IMAGE ${image} VAR CONFIG_SOC_SERIES_RP2350 KCONFIG)
  if(NOT rp2350 OR NOT TARGET mcuboot)
    return()
  endif()
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
    COMMENT "Bootloader and signed image in one file: combined.uf2"
    VERBATIM
  )
  add_dependencies(combined_uf2 mcuboot ${image})
endfunction()
