#!/bin/sh
# SPDX-License-Identifier: MIT
#
# image.sh BUILD NAME: the image of the Containerfile's second stage, of the program in BUILD, by whichever of buildah, podman
# and docker is here. What stands in the image is in BUILD/image.
set -eu
cd "$(dirname "$0")"
build=$(cd "$OLDPWD" && cd "$1" && pwd) name=$2
limit=30 # MB

sh ./root.sh "$build/ringcast" "$build/image"
size=$(du -sm "$build/image" | cut -f1)
[ "$size" -le $limit ] || {
	echo "image: $build/image has $size MB, and $limit are the limit" >&2
	exit 1
}
sed -n '/^FROM scratch/,$p' Containerfile | sed 's|^COPY --from=build /image|COPY .|' >"$build/Containerfile"
for tool in buildah podman docker; do
	command -v $tool >/dev/null || continue
	set -- -t "$name" -f "$build/Containerfile" "$build/image"
	# The health check is not of OCI's form.
	[ $tool = docker ] || set -- --format docker "$@"
	$tool build "$@" >"$build/image.log" 2>&1 || {
		tail -n 5 "$build/image.log" >&2
		exit 1
	}
	echo "image: $name, $size MB, by $tool"
	exit 0
done
echo "image: needs buildah, podman or docker; what would be in it lies in $build/image" >&2
exit 1
