# SPDX-License-Identifier: Apache-2.0
#
# What Rust's part of a build is made with (bindgen, macros) is the same in every suite, and
# compiling it takes longer than all the rest. cargo keeps what runs on the host in a directory
# of its own, under a lock; with REKINDLE_HOST_TOOLS, which tests/zephyr sets, suites share it.

set(rekindle_host_dir ${CMAKE_CURRENT_BINARY_DIR}/rust/target/release)
if(DEFINED ENV{REKINDLE_HOST_TOOLS} AND NOT EXISTS ${rekindle_host_dir})
  file(MAKE_DIRECTORY $ENV{REKINDLE_HOST_TOOLS} ${CMAKE_CURRENT_BINARY_DIR}/rust/target)
  file(CREATE_LINK $ENV{REKINDLE_HOST_TOOLS} ${rekindle_host_dir} SYMBOLIC)
endif()
