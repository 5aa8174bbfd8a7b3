#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# inside.sh - what the machine of tests/vm/run.sh does once systemd has made it ready: it runs the tests, and ends. The
# settings for it stand on the kernel's command line.
export PATH=/bin:/usr/bin:/usr/local/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 RC_LIMIT=900
for word in $(cat /proc/cmdline); do
	case $word in
	ONLY=* | RC_SLOW=* | RC_RING=?*) export "$word" ;;
	esac
done
mount -t tmpfs -o mode=1777 tmp /tmp

cd /ringcast || exit 1
echo "vm: $(uname -sr), $(nproc) processors, up for $(cut -d' ' -f1 /proc/uptime) s"
modprobe tls && echo "vm: kernel TLS is there" || echo "vm: no kernel TLS"
build/ringcast probe
echo "vm: ringcast probe ended with $?"
sh tests/run.sh build
echo "vm: the tests ended with $?"
poweroff -f
