# SPDX-License-Identifier: Apache-2.0
#
# Which Rust target stands for the CPU and the calling convention that Zephyr builds for.

# Sets `out` to the target's name, or leaves it empty when there is none: code for another
# instruction set would not run, and code with another calling convention would not link
# or, worse, would.
function(rekindle_rust_target out)
  set(target "")
  if(CONFIG_CPU_CORTEX_M0 OR CONFIG_CPU_CORTEX_M0PLUS OR CONFIG_CPU_CORTEX_M1)
    set(target thumbv6m-none-eabi)
  elseif(CONFIG_CPU_CORTEX_M3)
    set(target thumbv7m-none-eabi)
  elseif(CONFIG_CPU_CORTEX_M4 OR CONFIG_CPU_CORTEX_M7)
    set(target thumbv7em-none-eabi)
  elseif(CONFIG_CPU_CORTEX_M23)
    set(target thumbv8m.base-none-eabi)
  elseif(CONFIG_CPU_CORTEX_M33 OR CONFIG_CPU_CORTEX_M52 OR CONFIG_CPU_CORTEX_M55 OR CONFIG_CPU_CORTEX_M85)
    set(target thumbv8m.main-none-eabi)
  elseif(CONFIG_RISCV AND NOT CONFIG_64BIT AND NOT CONFIG_RISCV_ISA_RV32E)
    rekindle_riscv_target(target)
  endif()
  # FP_SOFTABI uses the FPU but passes no value in its registers: that is the plain target.
  if(target MATCHES "^thumb" AND CONFIG_FPU AND CONFIG_FP_HARDABI)
    string(APPEND target "hf")
  endif()
  set(${out} "${target}" PARENT_SCOPE)
endfunction()

# The largest of Rust's targets whose every instruction the core has.
function(rekindle_riscv_target out)
  set(target riscv32i)
  if(CONFIG_FPU AND CONFIG_FLOAT_HARD)
    # The one target that passes floats in registers; there is none for doubles.
    if(CONFIG_RISCV_ISA_EXT_M AND CONFIG_RISCV_ISA_EXT_A AND CONFIG_RISCV_ISA_EXT_C
       AND NOT CONFIG_CPU_HAS_FPU_DOUBLE_PRECISION)
      set(target riscv32imafc)
    else()
      set(${out} "" PARENT_SCOPE)
      return()
    endif()
  elseif(CONFIG_RISCV_ISA_EXT_M AND CONFIG_RISCV_ISA_EXT_A AND CONFIG_RISCV_ISA_EXT_C)
    set(target riscv32imac)
  elseif(CONFIG_RISCV_ISA_EXT_M AND CONFIG_RISCV_ISA_EXT_C)
    set(target riscv32imc)
  elseif(CONFIG_RISCV_ISA_EXT_M AND CONFIG_RISCV_ISA_EXT_A)
    set(target riscv32ima)
  elseif(CONFIG_RISCV_ISA_EXT_M)
    set(target riscv32im)
  endif()
  set(${out} ${target}-unknown-none-elf PARENT_SCOPE)
endfunction()
