# SPDX-License-Identifier: MIT
#
# join.awk: awk -f join.awk DIRECTORY/ENTRY.js >OUT makes one ES module of several that lie in one directory. It begins at
# the entry and puts each module behind those that it imports. All of them then share the one scope of a module. The lines
# of import go, and so does the word `export` outside the entry. The entry's first comment stays at the top.
#
# It does not parse JavaScript. Every line that is not indented must be one of these instead:
#   import { NAME, ... } from "./FILE.js";              FILE exports each NAME
#   /** @import { TYPE, ... } from "./FILE.js" */       for types, which live in comments
#   [export] class|function|async function NAME ...     no two modules declare the same name
#   [export] const|let NAME = ...                       one name a line
#   export {};   and in the entry: export { NAME, ... };   export default NAME;
#   comments, and lines that begin with a closing bracket
# At the first line that is not, and at a circle of imports, it prints "FILE:LINE: WHY", and ends with 1 and no output.

function fail(path, line, why) {
	printf "%s:%d: %s\n", path, line, why >"/dev/stderr"
	exit 1
}

# Puts each name of "... { A, B } ..." into names[1], names[2] ... and returns their count.
function names_of(path, line, text, names,    count, i) {
	sub(/^[^{]*\{ */, "", text)
	sub(/ *\}.*$/, "", text)
	count = split(text, names, /, */)
	for (i = 1; i <= count; i++)
		if (names[i] !~ /^[A-Za-z_$][A-Za-z0-9_$]*$/)
			fail(path, line, "'" names[i] "' is not a plain name")
	return count
}

function read_module(path, from, line,    text, status) {
	count[path] = 0
	while ((status = (getline text <path)) > 0)
		lines[path, ++count[path]] = text
	if (status < 0 || count[path] == 0)
		fail(from, line, "there is no module " path)
	close(path)
}

function import_module(path, line, text, is_type,    target, names, total, i) {
	target = text
	sub(/^.* from "\.\//, "", target)
	sub(/".*$/, "", target)
	target = directory target
	visit(target, path, line)
	if (is_type)
		return
	total = names_of(path, line, text, names)
	for (i = 1; i <= total; i++)
		if (!((target, names[i]) in exported))
			fail(path, line, target " does not export " names[i])
}

function declare(path, line, text, is_exported,    name) {
	name = text
	sub(/^(async function|function|class|const|let) /, "", name)
	sub(/[^A-Za-z0-9_$].*$/, "", name)
	if (name == "" || (text ~ /^(const|let) / && text !~ /^(const|let) [A-Za-z0-9_$]+ =/))
		fail(path, line, "a declaration needs one plain name, and a constant its value on the same line")
	if (text ~ /^(const|let) / && text ~ /, *[A-Za-z_$][A-Za-z0-9_$]* *=([^=>]|$)/)
		fail(path, line, "only one name may be declared on a line")
	if (name in declared)
		fail(path, line, name " is declared already, in " declared[name])
	declared[name] = path
	if (is_exported)
		exported[path, name] = 1
}

function check_exports(path, line, text,    names, total, i) {
	if (sub(/^export default /, "{ ", text))
		sub(/;$/, " }", text)
	total = names_of(path, line, text, names)
	for (i = 1; i <= total; i++)
		if (!(names[i] in declared))
			fail(path, line, names[i] " is not declared")
}

# Returns what the joined file has of a line: all of it, a part, or "" for nothing.
function check_line(path, line, text,    is_exported) {
	if (text ~ /(^|[^A-Za-z0-9_$.])import *\( *["'`]\./)
		fail(path, line, "another module must be imported by a line of its own")
	if (text ~ /^([ \t]|$|\/\/|[])}])/)
		return text
	if (text ~ /^\/\*\* @import \{[^{}]*\} from "\.\/[A-Za-z0-9_-]+\.js" \*\/$/) {
		import_module(path, line, text, 1)
		return ""
	}
	if (text ~ /^import \{[^{}]*\} from "\.\/[A-Za-z0-9_-]+\.js";$/) {
		import_module(path, line, text, 0)
		return ""
	}
	if (text ~ /^\/\*/) {
		in_comment = text !~ /\*\//
		return text
	}
	if (text == "export {};")
		return ""
	if (path == entry && text ~ /^export (\{[^{}]*\}|default [A-Za-z0-9_$]+);$/) {
		check_exports(path, line, text)
		return text
	}
	is_exported = sub(/^export /, "", text)
	if (text !~ /^(async function|function|class|const|let) /)
		fail(path, line, "such a line may not stand at the top level of a module")
	declare(path, line, text, is_exported)
	return (path == entry && is_exported ? "export " : "") text
}

# Reads a module and those that it imports, and puts its lines behind theirs.
function visit(path, from, line,    i, text, kept, body) {
	if (state[path] == "done")
		return
	if (state[path] == "begun")
		fail(from, line, path " needs this module itself: the imports go in a circle")
	state[path] = "begun"
	read_module(path, from, line)
	for (i = 1; i <= count[path]; i++) {
		text = kept = lines[path, i]
		if (path == entry && !head_ended && !in_comment && text !~ /^\/[\/*]/)
			fail(path, i, "the entry must begin with a comment")
		if (in_comment)
			in_comment = text !~ /\*\//
		else
			kept = check_line(path, i, text)
		if (path == entry && !head_ended) {
			head = head kept "\n"
			head_ended = text ~ /\*\//
		} else if ((kept != "" || text == "") && text !~ /^\/\/ SPDX/)
			body = body kept "\n"
	}
	if (in_comment)
		fail(path, count[path], "a comment does not end")
	state[path] = "done"
	sub(/^\n+/, "", body)
	joined = joined "\n" body
}

BEGIN {
	entry = directory = ARGV[1]
	sub(/[^\/]*$/, "", directory)
	visit(entry, "join.awk", 0)
	printf "%s\n// This file is joined from the modules in %s: change it there.\n%s", head, directory, joined
}
