#!/bin/sh
# SPDX-License-Identifier: MIT
#
# types.sh BUILT NODE prints the types of BUILT/ringcast.js, made of its comments by the TypeScript in NODE/node_modules,
# which npm puts there if it is not. `make types` writes them to ringcast.d.ts; a test holds that it is they.
set -eu
built=${1:?BUILT} node=${2:?NODE}
VERSION=7.0.2 # another orders its output in another way

tsc=$node/node_modules/.bin/tsc
case $("$tsc" --version 2>/dev/null || true) in
*" $VERSION") ;;
*)
	mkdir -p "$node"
	npm install --prefix "$node" --no-audit --no-fund --silent --save-exact "typescript@$VERSION" >&2
	;;
esac
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cp "$built/ringcast.js" "$out"
"$tsc" --allowJs --checkJs --strict --declaration --emitDeclarationOnly --target es2022 --module esnext --types '' \
	--lib es2023,dom,dom.iterable --outDir "$out/types" "$out/ringcast.js" >&2
echo '// SPDX-License-Identifier: MIT'
echo '// Made by `make types` of the comments in client/: change them there.'
sed -e '/^\/\/ SPDX/d' -e '/^\/\/ This file is joined/d' "$out/types/ringcast.d.ts"
