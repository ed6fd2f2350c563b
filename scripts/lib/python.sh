# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# To be sourced in the repository.

# python_packages NAME FILE...: puts the packages of these requirement files into .venv, unless it has them, and its
# programs first in PATH. NAME tells one call's packages from another's.
python_packages() {
	local had=.venv/installed-$1.txt
	shift
	if ! cat "$@" | cmp -s - "$had"; then
		[ -x .venv/bin/python3 ] || python3 -m venv .venv || return
		.venv/bin/pip install --quiet "${@/#/--requirement=}" || return
		cat "$@" >"$had" || return
	fi
	case $PATH in
	"$PWD/.venv/bin":*) ;;
	*) export PATH=$PWD/.venv/bin:$PATH ;;
	esac
}
