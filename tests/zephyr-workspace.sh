# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# To be sourced: finds the Zephyr workspace by west's own means, unless ZEPHYR_BASE names one.
# Returns 77 when there is none.

# The workspace this repository is part of, else the one west is configured for.
if [ -z "${ZEPHYR_BASE:-}" ]; then
	rekindle_base=$(west config zephyr.base 2>/dev/null) || rekindle_base=
	if rekindle_topdir=$(west topdir 2>/dev/null) && [ -n "$rekindle_base" ]; then
		case $rekindle_base in
		/*) ;;
		*) rekindle_base=$rekindle_topdir/$rekindle_base ;;
		esac
	fi
	if [ ! -d "$rekindle_base" ]; then
		echo "skipped: no Zephyr workspace; make one by 'west init -m', or name one: west config --global zephyr.base PATH" >&2
		return 77
	fi
	export ZEPHYR_BASE=$rekindle_base
fi

# Zephyr's SDK is there, or another compiler was chosen.
rekindle_has_compiler() {
	[ -n "${ZEPHYR_TOOLCHAIN_VARIANT:-}${ZEPHYR_SDK_INSTALL_DIR:-}" ] ||
		ls -d "$HOME"/zephyr-sdk-* "$HOME"/.local/zephyr-sdk-* /opt/zephyr-sdk-* >/dev/null 2>&1
}
