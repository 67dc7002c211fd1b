# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by tests/fuzz/run, script/fuzz and script/test: how the harnesses are built, what one input may take.

# Lays out build-fuzz, where all code tells libFuzzer which way it went.  Needs script/lib/common.sh.
configure_fuzz() {
	CC=clang CXX=clang++ configure build-fuzz -Db_sanitize=address,undefined -Db_lundef=false \
		-Dc_args='-fsanitize=fuzzer-no-link -fno-sanitize-recover=all'
}

# What one input may take.
# 10 s: no input here takes more than a few hundredths of one, the sanitizers included.
# 64 MiB in one piece: the longest input has 32 KiB, of which gzip can make 33 MiB (1032 times as many).
# 1 GiB in all: what the sanitizer keeps from being used again, 256 MiB, and four times that of slack.
# The harnesses demand more exactly what may be taken.  What a verb prints is thrown away.
# shellcheck disable=SC2034
limits=(-timeout=10 -malloc_limit_mb=64 -rss_limit_mb=1024 -close_fd_mask=3)
max_bytes=32768

# name_failure HARNESS INPUT: says what is wrong with an input that has failed.
name_failure() {
	"$1" "${limits[@]}" -close_fd_mask=1 "$2" 2>&1 | grep -E '^(does not hold|violation|SUMMARY)' || true
}
