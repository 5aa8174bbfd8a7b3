#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh BUILD: boots Linux 6.1, the oldest whose io_uring will do, or with KERNEL=5.10 that of Debian 11, where workers
# run on epoll, and runs the live tests there, and those of the systemd units, which need a machine of their own. The
# kernel is Debian's own package, unpacked and never installed; the machine is qemu's, in software (KVM hangs on some
# hosts); its only file system is an archive with what `make install` installs, systemd, Python and the tests. This prints
# what the guest prints on its serial console, one line a test. It ends with 77 where qemu or the kernel is not to be had.
#
# ONLY=word and RC_RING=epoll work as in `make test`. The tests of installing, those against other implementations, and
# those of backplanes, which know no ring, are left out.
set -eu
cd "$(dirname "$0")/../.."
version=${KERNEL:-6.1}
mkdir -p "$1/vm"
build=$(cd "$1" && pwd)
vm=$build/vm
kernel=$vm/kernel-$version
python=/usr/bin/python3

skip() {
	echo "skip vm: $*"
	exit 77
}

# Debian 11's packages are not among those of this system: apt looks into lists of its own for them.
apt_options() {
	[ "$version" = 5.10 ] || return 0
	apt=$vm/apt
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	: >"$apt/status"
	echo 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bullseye main' \
		>"$apt/sources.list"
	echo "-o Dir::Etc::SourceList=$apt/sources.list -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists=$apt/lists" \
		"-o Dir::Cache=$apt/cache -o Dir::State::status=$apt/status"
}

# The newest of its packages, kept in $kernel from one run to the next.
fetch_kernel() {
	[ ! -e "$kernel/ready" ] || return 0
	case $version in 6.1 | 5.10) ;; *) skip "KERNEL=$version: 6.1 or 5.10" ;; esac
	options=$(apt_options)
	[ -z "$options" ] || apt-get $options -qq update 2>/dev/null || skip "the packages of Debian 11 cannot be listed"
	package=$(apt-cache $options depends linux-image-amd64 2>/dev/null | grep -o "linux-image-$version\\.[^ ]*-amd64" | head -n 1)
	[ -n "$package" ] || skip "no linux-image-$version among the packages here"
	rm -rf "$kernel"
	mkdir -p "$kernel"
	echo "# fetching $package"
	(cd "$kernel" && apt-get $options -qq download "$package" 2>/dev/null) || skip "$package cannot be fetched"
	dpkg-deb -x "$kernel"/*.deb "$kernel" || skip "$package cannot be unpacked"
	rm "$kernel"/*.deb
	touch "$kernel/ready"
}

# A program or library with all that it is linked to.
add_linked() {
	for file in "$@" $(ldd "$@" 2>/dev/null | grep -o '/[^ ]*' | grep -v ':$' | sort -u); do
		[ -e "$root$file" ] || install -D "$file" "$root$file"
	done
}

add_python() {
	library=$($python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
	add_linked "$(readlink -f $python)"
	ln -sf "$(readlink -f $python)" "$root/usr/bin/python3"
	mkdir -p "$root$library"
	(cd "$library" && find . -type d \( -name config-\* -o -name __pycache__ -o -name test -o -name lib2to3 -o \
		-name idlelib -o -name ensurepip -o -name pydoc_data -o -name distutils \) -prune -o -type f -print |
		cpio -o --quiet -H newc) | (cd "$root$library" && cpio -id --quiet)
	add_linked "$library"/lib-dynload/*.so
}

# The kernel's modules for TLS, and the congestion control that many hosts choose.
add_modules() {
	from=$(echo "$kernel"/lib/modules/*)
	to=$root/lib/modules/$(basename "$from")
	mkdir -p "$to"
	for directory in net/tls crypto arch/x86/crypto lib/crypto net/ipv4/tcp_bbr.ko net/sched/sch_fq.ko; do
		[ ! -e "$from/kernel/$directory" ] ||
			(cd "$from" && cp -r --parents "kernel/$directory" "$to")
	done
	cp "$from"/modules.builtin "$from"/modules.order "$to"
	busybox depmod -b "$root" "$(basename "$from")"
}

# The service manager, with only those of its units that ours refer to.
add_systemd() {
	from=/lib/systemd
	[ ! -e /usr/lib/systemd/systemd ] || from=/usr/lib/systemd
	mkdir -p "$root/lib/systemd/system" "$root/etc/systemd"
	cp $from/systemd $from/systemd-journald "$root/lib/systemd"
	add_linked $from/systemd $from/systemd-journald "$(command -v systemctl)" "$(command -v journalctl)"
	for unit in basic.target sysinit.target shutdown.target sockets.target paths.target slices.target timers.target \
		network-online.target systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket; do
		cp $from/system/$unit "$root/lib/systemd/system"
	done
	cp tests/vm/inside.service "$root/lib/systemd/system"
	printf '[Manager]\nShowStatus=no\n' >"$root/etc/systemd/system.conf"
	echo vm >"$root/etc/hostname"
	: >"$root/etc/machine-id"
}

make_archive() {
	root=$vm/root
	rm -rf "$root"
	mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/tmp" "$root/run" "$root/usr/bin" \
		"$root/ringcast/build" "$root/ringcast/tests/live"
	cp "$(command -v busybox)" "$root/bin/busybox"
	install -m 755 tests/vm/init "$root/init"
	add_linked "$(command -v flock)" # which busybox has not
	add_linked "$build/ringcast" 2>/dev/null || true
	cp "$build/ringcast" "$root/ringcast/build/ringcast"
	install -D "$build/tests/loop" "$root/ringcast/build/tests/loop"
	MAKEFLAGS='' make -s BUILD="$1" DESTDIR="$root" install
	if command -v openssl >/dev/null; then # makes the certificates of the tests
		add_linked "$(command -v openssl)"
		install -D /etc/ssl/openssl.cnf "$root/usr/lib/ssl/openssl.cnf"
	fi
	add_python
	add_modules
	add_systemd
	mkdir -p "$root/etc"
	printf 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n' >"$root/etc/passwd"
	printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
	mkdir -p "$root/sbin" # the kernel asks for ciphers by this name when TLS wants them
	ln -s /bin/busybox "$root/sbin/modprobe"
	cp tests/run.sh "$root/ringcast/tests"
	install -D tests/vm/inside.sh "$root/ringcast/tests/vm/inside.sh"
	mkdir -p "$root/ringcast/tools" "$root/ringcast/build/tools"
	cp -r tools/web tools/package "$root/ringcast/tools"
	cp -r "$build/tools/web" "$root/ringcast/build/tools"
	for file in tests/live/*.py; do
		case $file in
		*_aiohttp.py | *_backplane_*.py | *_bench.py | *_completions.py | *_container.py | *_docs.py | *_examples.py | \
			*_install.py | *_man3.py | *_package.py | *_perf.py | *_websockets.py | *_ws.py) ;;
		*) cp "$file" "$root/ringcast/tests/live" ;;
		esac
	done
	cp tests/vm/service.py "$root/ringcast/tests/live/test_service.py"
	(cd "$root" && find . | cpio -o --quiet -H newc) >"$vm/initramfs"
}

sh tools/setup.sh vm || skip "qemu-system-x86_64 is not here"
[ "$(uname -m)" = x86_64 ] || skip "its tests are for x86_64"
fetch_kernel
make_archive "$1"

# Everything is slower there: the guest's time limits are stretched by RC_SLOW, and the machine has one of its own.
timeout -k 5 "${RC_VM_LIMIT:-1200}" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 2G -nodefaults \
	-no-reboot -display none -serial stdio -device virtio-rng-pci -kernel "$kernel"/boot/vmlinuz-* \
	-initrd "$vm/initramfs" \
	-append "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on systemd.unit=inside.service systemd.crash_reboot=1 ONLY=${ONLY:-} RC_SLOW=${RC_SLOW:-10} RC_RING=${RC_RING:-}" \
	</dev/null 2>"$vm/qemu.log" | sed -u 's|\r||g' | tee "$vm/console"
result=$(sed -n 's/^vm: the tests ended with //p' "$vm/console")
if [ -z "$result" ]; then
	tail -n 5 "$vm/qemu.log"
	echo "FAIL vm: the machine ended, or was ended, before its tests"
	exit 1
fi
exit "$result"
