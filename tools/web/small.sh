#!/bin/sh
# SPDX-License-Identifier: MIT
#
# small.sh OUT makes, of the modules in client/, the files of the client that are not ringcast.js itself:
#   OUT/ringcast.min.mjs   small, an ES module; without keyed() and without Node's ways to a WebSocket, as small/ says
#   OUT/ringcast.min.js    the same as a classic script, which makes the global Ringcast
#   OUT/ringcast.cjs       all of the client, for require()
# The small ones are made by Debian's esbuild. Where that is not, they say the same at full length.
set -eu
web=$(cd "$(dirname "$0")" && pwd)
out=$(cd "${1:?OUT}" && pwd)
modules=$out/small.modules

# Names that modules use among themselves. No message and no user has one: test_web_package.py holds that.
OURS='heardUpdate|heardGap|heardSubscribed|acknowledged|giveUp|isMine|unpause|ticked|waitNext|generation|dial|hasFeeds'
OURS="$OURS|welcomed|isNew|mayGo|isReady|eventId|emitHeard|abandon|entered|opened|flush|dropped|resume|restart|heard"
OURS="$OURS|ended|expire|refused|held|joined|emit|tell|listen"
HEAD='// ringcast.min (MIT): ringcast.js without keyed()'

# A module that join.awk made, as a script.
as_script() {
	echo '"use strict";'
	sed -e '/^export {/d' -e '/^export default /d' -e 's/^export //' "$1"
}

rm -rf "$modules"
mkdir "$modules"
cp "$web"/client/*.js "$modules"
cp "$web"/small/*.js "$modules"
sed -i -e '/^import { Keyed }/d' -e '/^export { /d' -e '/^export default /d' "$modules/ringcast.js"

GLOBAL='Object.defineProperty(Ringcast,"Ringcast",{value:Ringcast});globalThis.Ringcast=Ringcast;'
if command -v esbuild >/dev/null; then
	{
		echo "$HEAD"
		esbuild --bundle --minify --target=es2022 --charset=utf8 --log-level=warning --legal-comments=none \
			"--mangle-props=^($OURS)\$" --format=esm "$modules/small.js"
	} >"$out/ringcast.min.mjs"
	# It ends with export{a as Pool,b as Ringcast,...}; whose names are for the global.
	name=$(sed -n 's/.*export{.*[{,]\([A-Za-z_$]*\) as Ringcast[,}].*/\1/p' "$out/ringcast.min.mjs")
	{
		echo "$HEAD"
		echo '(()=>{'
		sed -e 1d -e 's/export{[^}]*};*$//' "$out/ringcast.min.mjs"
		echo "$GLOBAL})()" | sed "s/\([(=:]\)Ringcast\b/\1${name:?}/g"
	} >"$out/ringcast.min.js"
else
	awk -f "$web/join.awk" "$modules/small.js" >"$out/ringcast.min.mjs"
	{
		echo '(function () {'
		as_script "$out/ringcast.min.mjs"
		echo "$GLOBAL"
		echo '})();'
	} >"$out/ringcast.min.js"
fi
rm -rf "$modules"
awk -f "$web/join.awk" "$web/client/ringcast.js" >"$out/ringcast.cjs.new"
{
	as_script "$out/ringcast.cjs.new"
	echo
	echo 'const names = { Ringcast, Keyed, Pool, RingcastError, default: Ringcast, __esModule: true };'
	echo 'for (const name in names) Object.defineProperty(Ringcast, name, { value: names[name] });'
	echo 'module.exports = Ringcast;'
} >"$out/ringcast.cjs"
rm "$out/ringcast.cjs.new"
