# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# To be sourced.

# need_programs PROGRAM=PACKAGE...: installs the packages of the programs that are missing, on Debian and as root.
# Elsewhere it says which they are, and fails.
need_programs() {
	local each missing=() packages=()
	for each in "$@"; do
		command -v "${each%%=*}" >/dev/null && continue
		missing+=("${each%%=*}")
		packages+=("${each#*=}")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
		echo "installing ${packages[*]}"
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "${packages[@]}"
		return
	fi
	echo "not installed: ${missing[*]}; on Debian: apt-get install ${packages[*]}" >&2
	return 1
}
