# SPDX-License-Identifier: Apache-2.0

# `west build -t run` in sysbuild's own directory; the board's board.cmake has the same for
# an application's.
function(rekindle_add_run_target images)
  if(NOT "${BOARD}${BOARD_QUALIFIERS}" MATCHES "^mps2/an521/cpu0/mcuboot")
    return()
  endif()
  add_custom_target(run
    COMMAND ${PYTHON_EXECUTABLE} ${REKINDLE_DIR}/tests/pytest/machine.py ${CMAKE_BINARY_DIR}
    COMMENT "Starting the device under QEMU"
    USES_TERMINAL
    VERBATIM
  )
  add_dependencies(run ${images})
endfunction()
