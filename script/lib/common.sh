# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by the scripts: where the repository is, and how they tell what they are doing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"

# Shared by the scripts that a script runs: when the first of them started.
export HM_SCRIPT_START=${HM_SCRIPT_START:-$(date +%s)}

# say TEXT...: the next step, with the minutes and seconds so far.
say() {
	local seconds=$(($(date +%s) - HM_SCRIPT_START))
	printf '\n== [%d:%02d] %s\n' $((seconds / 60)) $((seconds % 60)) "$*"
}

# Prints the comment at the head of the calling script: what --help says.
usage() {
	sed -n '3,/^[^#]/s/^# \{0,1\}//p' "$0"
}

# configure DIRECTORY OPTION...: lays a build directory out where there is none; ninja keeps it up to date.
configure() {
	if [ ! -f "$1/build.ninja" ]; then
		say "laying out $1"
		meson setup "$@"
	fi
}
