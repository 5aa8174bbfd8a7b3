#!/bin/sh
# SPDX-License-Identifier: MIT
#
# cross.sh [BUILD]: the text kernels on aarch64, compiled with Debian's cross compiler and run under qemu's user
# emulation. Root installs what is missing; where that fails, this says so and ends with 77.
set -eu
cd "$(dirname "$0")/.."
build=${1:-build}/cross
compiler=aarch64-linux-gnu-gcc

skip() {
	echo "skip cross: $*"
	exit 77
}

emulator() {
	command -v qemu-aarch64-static || command -v qemu-aarch64
}

lacking() {
	! command -v $compiler >/dev/null || ! emulator >/dev/null ||
		! echo 'int main(void) { return 0; }' | $compiler -static -x c -o "$build/probe" - 2>/dev/null
}

mkdir -p "$build"
if lacking; then
	[ "$(id -u)" -eq 0 ] || skip "needs gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user-static"
	command -v apt-get >/dev/null || skip "no $compiler, and no apt-get to install it"
	packages="gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static"
	install="apt-get install -y -qq --no-install-recommends $packages"
	DEBIAN_FRONTEND=noninteractive $install >"$build/install.log" 2>&1 ||
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive $install; } >>"$build/install.log" 2>&1 ||
		skip "gcc-aarch64-linux-gnu could not be installed, see $build/install.log"
	! lacking || skip "$compiler or qemu-aarch64 does not work here"
fi

$compiler -std=c17 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Werror -static -Iengine \
	tests/cross/text_main.c engine/text*.c -o "$build/text"
exec "$(emulator)" "$build/text" neon
