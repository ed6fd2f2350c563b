# SPDX-License-Identifier: Apache-2.0
#
# Which of the Rust toolchains on this machine can build for a target.

# Looks through PATH for a directory with cargo and rustc that have the target's core
# library, or else its source to build it from. rustup's stand-ins are asked in
# `directory`, where rust-toolchain.toml holds. Sets
#   `out`_CARGO, `out`_RUSTC   the programs
#   `out`_ENVIRONMENT          what cargo needs to be told, as NAME=VALUE
# or ends the configuration with one line that says what is missing.
function(rekindle_find_rust out target directory)
  file(TO_CMAKE_PATH "$ENV{PATH}" path)
  set(found "")
  foreach(place IN LISTS path)
    if(NOT EXISTS ${place}/cargo OR NOT EXISTS ${place}/rustc)
      continue()
    endif()
    list(APPEND found ${place})
    rekindle_ask_rustc(libdir ${place}/rustc ${directory} --print target-libdir --target ${target})
    rekindle_ask_rustc(sysroot ${place}/rustc ${directory} --print sysroot)
    set(environment "")
    if(libdir AND EXISTS ${libdir})
      # Built-in, so that a core from source is not built beside it.
      set(environment --unset=CARGO_UNSTABLE_BUILD_STD)
    elseif(sysroot AND EXISTS ${sysroot}/lib/rustlib/src/rust/library/core)
      set(environment RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=core)
    else()
      continue()
    endif()
    message(STATUS "Rekindle: Rust for ${target}: ${place}/rustc")
    set(${out}_CARGO ${place}/cargo PARENT_SCOPE)
    set(${out}_RUSTC ${place}/rustc PARENT_SCOPE)
    set(${out}_ENVIRONMENT ${environment} PARENT_SCOPE)
    return()
  endforeach()
  if(found)
    message(FATAL_ERROR "Rekindle: no Rust toolchain here can build for ${target}: rustup target add ${target}")
  endif()
  message(FATAL_ERROR "Rekindle: CONFIG_REKINDLE needs Rust, and there is no cargo in PATH: install it from https://rustup.rs")
endfunction()

# What rustc answers, or nothing where it cannot.
function(rekindle_ask_rustc out rustc directory)
  execute_process(
    COMMAND ${rustc} ${ARGN}
    WORKING_DIRECTORY ${directory}
    OUTPUT_VARIABLE answer
    OUTPUT_STRIP_TRAILING_WHITESPACE
    ERROR_QUIET
    RESULT_VARIABLE code
  )
  if(NOT code EQUAL 0)
    set(answer "")
  endif()
  set(${out} "${answer}" PARENT_SCOPE)
endfunction()
