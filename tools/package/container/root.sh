#!/bin/sh
# SPDX-License-Identifier: MIT
#
# root.sh PROGRAM FOLDER: FOLDER becomes the root of an image: the program, the libraries that it links, whom it trusts on
# TLS, and a user without a name elsewhere. No shell, no package manager: nothing that an intruder could use.
set -eu
program=$1 root=$2
id=65532

rm -rf "$root"
mkdir -p "$root/usr/bin" "$root/etc/ssl/certs" "$root/run"
install -m 755 "$program" "$root/usr/bin/ringcast"
strip "$root/usr/bin/ringcast" 2>/dev/null || echo "root.sh: without strip the image is larger" >&2
# As the loader finds them, under the names that it looks for.
libraries=$(ldd "$program" | grep -o '/[^ ]*')
for library in $libraries; do
	install -D -m 755 "$library" "$root$library"
done
# The libraries' licences ask to come along.
for library in $libraries; do
	package=$(dpkg -S "$library" "$(readlink -f "$library")" 2>/dev/null | sed -n '1s/:.*//p')
	licence=/usr/share/doc/${package:-none}/copyright
	[ ! -e "$licence" ] || install -D -m 644 "$licence" "$root$licence"
done
[ ! -e /etc/ssl/certs/ca-certificates.crt ] ||
	install -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
mkdir -p "$root/usr/lib/ssl"
ln -s /etc/ssl/certs "$root/usr/lib/ssl/certs"
ln -s /etc/ssl/certs/ca-certificates.crt "$root/usr/lib/ssl/cert.pem"
echo "ringcast:x:$id:$id::/:/usr/sbin/nologin" >"$root/etc/passwd"
echo "ringcast:x:$id:" >"$root/etc/group"
