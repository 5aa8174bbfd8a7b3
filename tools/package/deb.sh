#!/bin/sh
# SPDX-License-Identifier: MIT
#
# deb.sh BUILD VERSION: Debian packages in BUILD/deb, built by debhelper from the tarball of what was committed. debian/
# lies in tools/package, and is put where dpkg-buildpackage looks for it in that copy; its changelog is written here, so
# that it cannot have another version than the library.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p "$1"
build=$(cd "$1" && pwd) version=$2
sh tools/setup.sh deb
sh tools/package/dist.sh "$build" "$version" >/dev/null
deb=$build/deb
rm -rf "$deb"
mkdir -p "$deb"
tar -xzf "$build/ringcast-$version.tar.gz" -C "$deb"
source=$deb/ringcast-$version
cp -r tools/package/debian "$source/debian"
cat >"$source/debian/changelog" <<-END
	ringcast ($version-1) bookworm; urgency=medium

	  * What is new: /usr/share/doc/ringcast/changelog.gz

	 -- $(sed -n 's/^Maintainer: //p' "$source/debian/control")  $(git log -1 --format=%cD)
END
# The variables of this make are not those of the package's.
unset MAKEFLAGS MAKELEVEL MFLAGS CFLAGS LDFLAGS PREFIX LIBDIR BUILD CC
if ! (cd "$source" && DEB_BUILD_OPTIONS="${DEB_BUILD_OPTIONS:-} parallel=$(nproc)" dpkg-buildpackage -b -us -uc) >"$deb/log" 2>&1; then
	tail -n 30 "$deb/log" >&2
	echo "deb: failed; all of it is in $deb/log" >&2
	exit 1
fi
ls "$deb"/*.deb
