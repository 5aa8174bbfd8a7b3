// SPDX-License-Identifier: MIT
/** modules.mjs SOURCES BUILT: the modules of ringcast.js, each by itself, and what the file joined from them exports. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const [sources, built] = process.argv.slice(2);
const MEMBERS = ["addEventListener", "broadcast", "close", "connect", "constructor", "direct", "disconnect", "history",
	"isConnected", "join", "joinRoom", "keyed", "leave", "leaveRoom", "members", "off", "on", "onClose", "onError", "onMessage",
	"onOpen", "onReconnecting", "once", "queued", "registerHandler", "removeEventListener", "request", "reset", "say", "send",
	"sendNow", "sendToRoom", "state", "subscribe", "transport", "unsubscribe", "userId"];

test("each module can be imported by itself, and does nothing but declare", () => {
	const names = readdirSync(sources);
	assert(names.includes("ringcast.js"));
	for (const name of names) {
		const script = `await import(${JSON.stringify(join(sources, name))})`;
		const said = execFileSync(process.execPath, ["--input-type=module", "--eval", script], { timeout: 20_000 });
		assert.equal(String(said), "", name);
	}
});

test("each module imports the names of others that it uses, and no more", () => {
	const code = new Map(readdirSync(sources).map(name =>
		[name, readFileSync(join(sources, name), "utf8").replace(/\/\*.*?\*\/|\/\/ [^\n]*/gs, "")]));
	const exported = /^export (?:async )?(?:class|function|const) (\w+)/gm;
	const exports = [...code.values()].flatMap(text => [...text.matchAll(exported)].map(found => found[1]));
	for (const known of ["DEFAULTS", "Rooms", "callHandler", "findWebSocket"]) assert(exports.includes(known), known);
	for (const [name, text] of code) {
		const imported = [...text.matchAll(/^import \{(.*)\}/gm)].flatMap(found => found[1].trim().split(", "));
		const body = text.replace(/^import .*$/gm, "");
		const used = exports.filter(each => new RegExp(`(?<![#\\w]|(?<!\\.\\.)\\.)${each}\\b`).test(body) &&
			!new RegExp(`^(export )?(async )?(class|function|const) ${each}\\b`, "m").test(body));
		assert.deepEqual(imported.sort(), used.sort(), name);
	}
});

test("the joined file exports what its entry exports", async () => {
	for (const path of [join(sources, "ringcast.js"), built]) {
		const { default: main, Keyed, Pool, Ringcast, RingcastError, ...others } = await import(path);
		assert.deepEqual(others, {}, path);
		assert.equal(main, Ringcast, path);
		assert.deepEqual(Object.getOwnPropertyNames(Ringcast.prototype).sort(), MEMBERS, path);
		assert.deepEqual([Ringcast.Pool, Ringcast.RingcastError], [Pool, RingcastError], path);
		assert.equal(Ringcast.length, 1, path);
		assert.deepEqual(new Keyed("t").map, new Map(), path);
		const client = new Ringcast("ws://127.0.0.1:1/ws/me", { storage: "none", store: { length: 0 } });
		assert.deepEqual(Object.keys(client), [], path);
		client.close();
		assert.equal(client.state, "closed", path);
		const error = await client.request({ type: "ping" }).catch(why => why);
		assert(error instanceof RingcastError && error instanceof Error, path);
		assert.deepEqual([error.name, error.code], ["RingcastError", "OFFLINE"], path);
	}
});
