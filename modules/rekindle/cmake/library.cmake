# SPDX-License-Identifier: Apache-2.0
#
# The session as a static library for an application in C: built by cargo, linked by
# Zephyr.

include(${CMAKE_CURRENT_LIST_DIR}/rust_target.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/rust_toolchain.cmake)

rekindle_rust_target(rekindle_target)
if(NOT rekindle_target)
  message(FATAL_ERROR "Rekindle: Rust has no target for this CPU and its floating point ABI (modules/rekindle/cmake/rust_target.cmake)")
endif()

get_filename_component(rekindle_rust_dir ${CMAKE_CURRENT_LIST_DIR}/../../../rust ABSOLUTE)
set(rekindle_crate ${rekindle_rust_dir}/rekindle-c)
rekindle_find_rust(rekindle_rust ${rekindle_target} ${rekindle_crate})

# Everything cargo leaves behind lies in the build directory.
set(rekindle_cargo_dir ${CMAKE_CURRENT_BINARY_DIR}/cargo)
set(rekindle_archive ${rekindle_cargo_dir}/${rekindle_target}/release/librekindle_c.a)

set(rekindle_cargo_target ${rekindle_target})
if(rekindle_rust_BUILDS_CORE)
  rekindle_lean_target(rekindle_cargo_target ${rekindle_target} ${rekindle_rust_RUSTC} ${CMAKE_CURRENT_BINARY_DIR})
endif()
if(rekindle_cargo_target MATCHES "[.]json$")
  list(APPEND rekindle_rust_ENVIRONMENT CARGO_UNSTABLE_JSON_TARGET_SPEC=true)
endif()

# What Kconfig leaves out costs nothing.
set(rekindle_features --no-default-features)
if(CONFIG_REKINDLE_SMP)
  list(APPEND rekindle_features --features smp)
endif()
if(CONFIG_REKINDLE_LINK_HALF_DUPLEX)
  list(APPEND rekindle_features --features half-duplex)
endif()
if(CONFIG_REKINDLE_VERIFY_SIGNATURE)
  list(APPEND rekindle_features --features signature-${rekindle_feature})
endif()

# Cargo's list of what the archive was made from names sources alone.
set(rekindle_manifests ${rekindle_rust_dir}/Cargo.toml)
foreach(crate fusain mcuboot-image rekindle-session rekindle-zephyr rekindle-c)
  list(APPEND rekindle_manifests ${rekindle_rust_dir}/${crate}/Cargo.toml)
endforeach()

add_custom_command(
  OUTPUT ${rekindle_archive}
  COMMAND
    ${CMAKE_COMMAND} -E env
    # They would take the place of what the crate's .cargo/config.toml says.
    --unset=RUSTFLAGS --unset=CARGO_ENCODED_RUSTFLAGS --unset=CARGO_BUILD_TARGET
    ${rekindle_rust_ENVIRONMENT}
    RUSTC=${rekindle_rust_RUSTC}
    ${rekindle_rust_CARGO} build --locked --quiet --release
    --target ${rekindle_cargo_target} --target-dir ${rekindle_cargo_dir} ${rekindle_features}
  # The compiler that rust-toolchain.toml names, and the crate's own options.
  WORKING_DIRECTORY ${rekindle_crate}
  DEPFILE ${rekindle_cargo_dir}/${rekindle_target}/release/librekindle_c.d
  DEPENDS
    ${rekindle_manifests}
    ${rekindle_crate}/Cargo.lock
    ${rekindle_crate}/.cargo/config.toml
  COMMENT "Rekindle: building the session for ${rekindle_target}"
  USES_TERMINAL
  VERBATIM
)
add_custom_target(rekindle_session DEPENDS ${rekindle_archive})
add_dependencies(rekindle rekindle_session)
# An archive like any other: only what is used comes into the image.
zephyr_library_link_libraries(${rekindle_archive})
