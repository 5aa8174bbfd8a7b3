#!/bin/sh
# SPDX-License-Identifier: MIT
#
# setup.sh LEVEL, one of build, examples, install, docs, test, fuzz, lint, vm, coverage, deb, test-deb, image: makes sure
# that what building needs is here, and with another word what that step needs too. On Debian and its kin the script
# installs what is missing from the distribution's own packages, and says so; elsewhere it names what is missing, and
# fails. It looks for commands and headers, never for the names of packages. The Makefile calls it once a build
# directory.
set -eu
level=${1:?build, examples, install, docs, test, fuzz, lint, vm, coverage, deb, test-deb or image}
CC=${CC:-gcc}
CXX=${CXX:-g++}

# A line is: the level that needs the thing, how to look for it, what to look for, and Debian's packages. Five levels are
# not vital: without a `wish` some tests skip, without `probes` the program has none, without `small` ringcast.min.js is not
# small, of `backplane` it has the engines whose library is here, and one of the `examples` is left out.
needs() {
	cat <<-END
	build command $CC $(basename "$CC")
	build command awk mawk
	build header stdlib.h libc6-dev
	build header liburing.h liburing-dev
	build header openssl/evp.h libssl-dev
	build header xxhash.h libxxhash-dev
	build header zlib.h zlib1g-dev
	build header jansson.h libjansson-dev
	build header ini.h libinih-dev
	build header systemd/sd-daemon.h libsystemd-dev
	build header curl/curl.h libcurl4-openssl-dev
	build header msgpack.h libmsgpack-dev
	build command gzip gzip
	small command esbuild esbuild
	small command zopfli zopfli
	probes header sys/sdt.h systemtap-sdt-dev
	backplane header hiredis/hiredis.h libhiredis-dev
	backplane header nats/nats.h libnats-dev
	backplane header amqp.h librabbitmq-dev
	backplane header librdkafka/rdkafka.h librdkafka-dev
	examples header uv.h libuv1-dev
	test header criterion/criterion.h libcriterion-dev
	install command python3 python3
	docs command python3 python3
	docs command pandoc pandoc
	test command /usr/bin/python3 python3
	test command patch patch
	wish python websockets python3-websockets
	wish python aiohttp python3-aiohttp
	wish python websocket python3-websocket
	wish python msgpack python3-msgpack
	wish node ws nodejs,node-ws
	wish command /usr/sbin/nginx nginx-light
	wish command /usr/sbin/haproxy haproxy
	wish command redis-server redis-server
	wish command nats-server nats-server
	wish command /usr/lib/rabbitmq/bin/rabbitmq-server rabbitmq-server
	wish command kcat kcat
	wish python pika python3-pika
	wish command $CXX $(basename "$CXX")
	wish command pkg-config pkg-config
	wish command openssl openssl
	wish command curl curl
	wish command promtool prometheus
	wish command mandoc mandoc
	wish command pandoc pandoc
	wish command unshare util-linux
	wish command abidiff abigail-tools
	wish python seccomp python3-seccomp
	wish python yaml python3-yaml
	wish command zsh zsh
	wish command fish fish
	vm command qemu-system-x86_64 qemu-system-x86
	vm static busybox busybox-static
	vm command cpio cpio
	vm command /lib/systemd/systemd systemd
	vm command /usr/bin/python3 python3
	lint command clang-format clang-format
	lint command clang-tidy clang-tidy
	lint command cppcheck cppcheck
	lint command /usr/bin/python3 python3
	lint command readelf binutils
	lint command abidiff abigail-tools
	coverage command gcovr gcovr
	deb command dh debhelper
	deb command dpkg-buildpackage dpkg-dev
	deb command git git
	test-deb command lintian lintian
	test-deb command debootstrap debootstrap
	image command buildah buildah
	image command podman podman
	image command crun crun
	fuzz command clang clang
	fuzz fuzzer clang libclang-rt-dev
	END
}

found() {
	case $1 in
	command) command -v "$2" ;;
	header) echo "#include <$2>" | "$CC" -E -x c - ;;
	python) /usr/bin/python3 -c "import $2" ;;
	fuzzer) echo 'int LLVMFuzzerTestOneInput() { return 0; }' | "$2" -fsanitize=fuzzer -x c - -o /dev/null ;;
	static) command -v "$2" && ! ldd "$(command -v "$2")" ;;
	node) NODE_PATH=/usr/share/nodejs node -e "require('$2')" ;;
	esac >/dev/null 2>&1
}

# Prints a line "WHAT PACKAGES" for each thing of the given levels that is not here.
missing() {
	needs | while read -r need kind what packages; do
		case " $* " in *" $need "*) ;; *) continue ;; esac
		found "$kind" "$what" && continue
		case $kind in
		command) echo "$what $packages" ;;
		header) echo "<$what> $packages" ;;
		*) echo "$kind:$what $packages" ;;
		esac
	done
}

is_debian() {
	command -v apt-get >/dev/null && grep -qE '^ID(_LIKE)?=.*(debian|ubuntu)' /etc/os-release 2>/dev/null
}

# Package lists are fetched only if installing fails without: they may be absent, or old.
apt_install() {
	log=$(mktemp)
	apt="$as env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120"
	install="$apt install -y --no-install-recommends --no-remove $*"
	if $install >"$log" 2>&1 || { $apt update >"$log" 2>&1 && $install >"$log" 2>&1; }; then
		rm -f "$log"
		return 0
	fi
	tail -n 3 "$log" >&2
	rm -f "$log"
	return 1
}

# Installs the packages of the given levels. Fails when something is still missing after that.
provide() {
	list=$(missing "$@")
	[ -n "$list" ] || return 0
	packages=$(echo "$list" | cut -d' ' -f2 | tr ',\n' '  ')
	if ! is_debian; then
		echo "ringcast: missing here: $(echo "$list" | cut -d' ' -f1 | tr '\n' ' ')" >&2
		echo "ringcast: (on Debian: apt-get install $packages)" >&2
		return 1
	fi
	as=
	if [ "$(id -u)" != 0 ]; then
		as=sudo
		command -v sudo >/dev/null || {
			echo "ringcast: as root, please: apt-get install $packages" >&2
			return 1
		}
	fi
	echo "ringcast: installing what '$level' needs, from Debian's packages${as:+ (with sudo)}: $packages"
	apt_install $packages || return 1
	list=$(missing "$@")
	[ -z "$list" ] || {
		echo "ringcast: still missing: $(echo "$list" | cut -d' ' -f1 | tr '\n' ' ')" >&2
		return 1
	}
}

provide build || exit 1
provide probes || echo "ringcast: built without probes for perf and bpftrace"
provide small || echo "ringcast: ringcast.min.js is not as small as it could be"
provide backplane || echo "ringcast: built with the backplanes that \`ringcast probe\` names"
[ "$level" != build ] || exit 0
case $level in examples | lint) provide examples || echo "ringcast: the example with libuv is left out" ;; esac
[ "$level" != examples ] || exit 0
provide "$level" || exit 1
[ "$level" = test ] || exit 0
provide wish || echo "ringcast: the tests that want what is missing will skip"
