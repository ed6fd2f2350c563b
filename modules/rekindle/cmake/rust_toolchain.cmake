# SPDX-License-Identifier: Apache-2.0
#
# Which of the Rust toolchains on this machine can build for a target.

# Looks through PATH for a directory with cargo and rustc that have the target's core
# library, or else its source to build it from. rustup's stand-ins are asked in
# `directory`, where rust-toolchain.toml holds. Sets
#   `out`_CARGO, `out`_RUSTC   the programs
#   `out`_ENVIRONMENT          what cargo needs to be told, as NAME=VALUE
#   `out`_BUILDS_CORE          whether the core library is built from its source
# With CONFIG_REKINDLE_RUST_CORE_FROM_SOURCE only a source will do. Or ends the configuration with one line that says what is missing.
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
    set(builds_core FALSE)
    if(libdir AND EXISTS "${libdir}" AND NOT CONFIG_REKINDLE_RUST_CORE_FROM_SOURCE)
      # Built-in, so that a core from source is not built beside it.
      set(environment --unset=CARGO_UNSTABLE_BUILD_STD)
    elseif(sysroot AND EXISTS ${sysroot}/lib/rustlib/src/rust/library/core)
      set(environment RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=core)
      set(builds_core TRUE)
    else()
      continue()
    endif()
    message(STATUS "Rekindle: Rust for ${target}: ${place}/rustc")
    set(${out}_CARGO ${place}/cargo PARENT_SCOPE)
    set(${out}_RUSTC ${place}/rustc PARENT_SCOPE)
    set(${out}_ENVIRONMENT ${environment} PARENT_SCOPE)
    set(${out}_BUILDS_CORE ${builds_core} PARENT_SCOPE)
    return()
  endforeach()
  if(found)
    if(CONFIG_REKINDLE_RUST_CORE_FROM_SOURCE)
      message(FATAL_ERROR "Rekindle: no Rust toolchain here has the source of its library: rustup component add rust-src")
    endif()
    message(FATAL_ERROR "Rekindle: no Rust toolchain here can build for ${target}: rustup target add ${target}")
  endif()
  message(FATAL_ERROR "Rekindle: CONFIG_REKINDLE needs Rust, and there is no cargo in PATH: install it from https://rustup.rs")
endfunction()

# Rust's targets for Arm keep a frame pointer in every function, which no option turns off: 1.3 KB of
# the session's code. Where the core library is built too, a target can be the compiler's own but for
# that. Writes it to `directory` under its own name, as which cargo files what it builds, and sets `out`
# to it; to `target` where there is nothing to change.
function(rekindle_lean_target out target rustc directory)
  set(${out} ${target} PARENT_SCOPE)
  execute_process(
    COMMAND ${CMAKE_COMMAND} -E env RUSTC_BOOTSTRAP=1
      ${rustc} -Z unstable-options --print target-spec-json --target ${target}
    OUTPUT_VARIABLE spec
    ERROR_QUIET
    RESULT_VARIABLE code
  )
  string(REPLACE "\"frame-pointer\": \"always\"" "\"frame-pointer\": \"may-omit\"" lean "${spec}")
  if(code EQUAL 0 AND NOT lean STREQUAL spec)
    file(CONFIGURE OUTPUT ${directory}/${target}.json CONTENT "${lean}" @ONLY)
    set(${out} ${directory}/${target}.json PARENT_SCOPE)
  endif()
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
