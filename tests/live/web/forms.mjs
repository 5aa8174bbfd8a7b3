// SPDX-License-Identifier: MIT
/** forms.mjs DIRECTORY: the client as a classic script, as a small module, and for require(): each has the same names. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { test } from "node:test";
import { runInNewContext, Script } from "node:vm";

const directory = process.argv[2], require = createRequire(import.meta.url);
const NAMES = ["Pool", "Ringcast", "RingcastError"];

test("as a classic script it makes one global, which has the rest", () => {
	const page = { URL, setTimeout, clearTimeout };
	runInNewContext(readFileSync(join(directory, "ringcast.min.js"), "utf8"), page);
	assert.deepEqual(Object.keys(page).sort(), ["Ringcast", "URL", "clearTimeout", "setTimeout"]);
	assert.equal(page.Ringcast.Ringcast, page.Ringcast);
	assert.equal(new page.Ringcast.RingcastError("CODE", "words").code, "CODE");
	assert.equal(typeof page.Ringcast.Pool, "function");
	for (const name of ["join", "subscribe", "onMessage", "registerHandler"])
		assert.equal(typeof page.Ringcast.prototype[name], "function", name);
});

test("as a small module it exports the names, and by default the client", async () => {
	const module = await import(join(directory, "ringcast.min.mjs"));
	assert.deepEqual(Object.keys(module).sort(), [...NAMES, "default"].sort());
	assert.equal(module.default, module.Ringcast);
	const one = new module.Ringcast("ws://127.0.0.1:1/ws", { maxTries: 0 });
	assert.throws(() => one.keyed("t"), { code: "NOT_HERE", message: /ringcast\.js/ });
	one.close();
});

test("require() gives the client, and all names", () => {
	const all = require(join(directory, "ringcast.cjs"));
	for (const name of [...NAMES, "Keyed"]) assert.equal(typeof all[name], "function", name);
	assert.equal(all, all.Ringcast);
	assert.equal(all.default, all.Ringcast);
});

test("a classic script leaves nothing of a module in it", () => {
	for (const name of ["ringcast.min.js", "ringcast.cjs"]) new Script(readFileSync(join(directory, name), "utf8"));
});
