# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# To be sourced: finds the Zephyr workspace and settles what a build of
# Rust for a microcontroller needs. Variables that are set already are left alone.
# Returns 77 when there is no workspace.

# shellcheck source=tests/zephyr-workspace.sh
. "${BASH_SOURCE[0]%/*}/zephyr-workspace.sh" || return

# Without Zephyr's SDK, any GCC for bare Arm will do.
if ! rekindle_has_compiler && rekindle_gcc=$(command -v arm-none-eabi-gcc); then
	export ZEPHYR_TOOLCHAIN_VARIANT=gnuarmemb
	GNUARMEMB_TOOLCHAIN_PATH=$(dirname "$(dirname "$rekindle_gcc")")
	export GNUARMEMB_TOOLCHAIN_PATH
fi

# bindgen runs clang over headers meant for GCC. GCC's own arm_acle.h must not shadow
# clang's, so both directories are given as system ones, clang's first.
if [ "${ZEPHYR_TOOLCHAIN_VARIANT:-}" = gnuarmemb ] && [ -z "${BINDGEN_EXTRA_CLANG_ARGS:-}" ] &&
	rekindle_clang=$(clang -print-resource-dir 2>/dev/null); then
	rekindle_gcc=$("$GNUARMEMB_TOOLCHAIN_PATH"/bin/arm-none-eabi-gcc -print-file-name=include)
	export BINDGEN_EXTRA_CLANG_ARGS="-isystem $rekindle_clang/include -isystem $rekindle_gcc -isystem $rekindle_gcc-fixed"
fi

# A toolchain that has the core library for the target, or else its source to build it
# from. Called in the repository, so that rustup's choice is that of rust-toolchain.toml.
rekindle_rust() {
	local target=thumbv8m.main-none-eabi rustc sysroot tool
	while read -r rustc; do
		[ -x "$(dirname "$rustc")/cargo-clippy" ] || continue
		if [ -d "$("$rustc" --print target-libdir --target $target 2>/dev/null)" ]; then
			:
		elif sysroot=$("$rustc" --print sysroot) && [ -d "$sysroot/lib/rustlib/src/rust/library" ]; then
			export RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=core,alloc
		else
			continue
		fi
		if [ "$rustc" != "$(command -v rustc)" ]; then
			# Only Rust's own tools may come first, not everything beside them.
			rekindle_tools=$(mktemp -d)
			for tool in cargo rustc rustdoc cargo-clippy clippy-driver; do
				ln -s "$(dirname "$rustc")/$tool" "$rekindle_tools/$tool"
			done
			export PATH=$rekindle_tools:$PATH
		fi
		return 0
	done < <(type -ap rustc)
	echo "No Rust toolchain for $target: rustup target add $target" >&2
	return 1
}
rekindle_rust
