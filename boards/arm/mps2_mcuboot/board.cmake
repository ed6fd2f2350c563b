# SPDX-License-Identifier: Apache-2.0
#
# `run`, for `west build -t run` and for twister. How QEMU is started, and how its flash
# is put together from bootloader and image, is known in one place, which the tests use
# as well. "custom" says that the target is defined here.

set(SUPPORTED_EMU_PLATFORMS custom)

# Given by twister: the pipes that it reads the console from.
zephyr_get(QEMU_PIPE)
if(QEMU_PIPE)
  set(mps2_mcuboot_console --qemu-pipe ${QEMU_PIPE} --pidfile ${CMAKE_BINARY_DIR}/qemu.pid)
endif()

# Sysbuild's directory, which holds those of the bootloader and of the application.
get_filename_component(mps2_mcuboot_build ${CMAKE_BINARY_DIR} DIRECTORY)

add_custom_target(run_custom
  COMMAND ${PYTHON_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/../../../tests/pytest/machine.py
    ${mps2_mcuboot_build} ${mps2_mcuboot_console}
  COMMENT "Starting the device under QEMU"
  USES_TERMINAL
  VERBATIM
)
add_dependencies(run_custom zephyr_final)
