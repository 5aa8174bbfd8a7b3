#!/bin/sh
# SPDX-License-Identifier: MIT
#
# dist.sh BUILD VERSION: BUILD/ringcast-VERSION.tar.gz, of what was committed. git gives every file the time of the commit
# and one owner, and gzip writes no time, so that one commit makes the same bytes wherever and whenever this runs.
set -eu
build=$1 version=$2
git rev-parse --git-dir >/dev/null 2>&1 || {
	echo "dist: needs a git checkout: the tarball is made from a commit" >&2
	exit 1
}
[ -z "$(git status --porcelain --untracked-files=no)" ] || echo "dist: what is not committed is not in it" >&2
mkdir -p "$build"
tarball=$build/ringcast-$version.tar.gz
git -c tar.umask=0022 archive --format=tar --prefix="ringcast-$version/" HEAD >"$tarball.tar"
gzip -9n <"$tarball.tar" >"$tarball"
rm "$tarball.tar"
echo "$tarball"
