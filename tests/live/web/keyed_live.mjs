// SPDX-License-Identifier: MIT
/** keyed_live.mjs PROGRAM CLIENT: keyed feeds of ringcast.js under Node against the real server, which is killed and started
 *  again. What is published is kept here too, and is what each Map must come to. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { App } from "./app.mjs";
import { until } from "./fake.mjs";

const [program, path] = process.argv.slice(2);
const { Ringcast } = await import(path);
const clients = [];
let app, truth;

test.beforeEach(async () => {
	app = await new App(program).start();
	truth = new Map();
});
test.afterEach(async () => {
	for (const one of clients.splice(0)) one.close();
	await app.stop();
});

function follow(how) {
	const one = new Ringcast(`ws://${app.url}/ws/reader${clients.length}`, { minDelay: 20, maxDelay: 100, maxTries: 1_000 });
	clients.push(one);
	const keyed = one.keyed("levels", how), seen = [];
	keyed.on("change", ({ key, value, removed }) => seen.push(removed ? `-${key}` : `${key}=${value}`));
	return { one, keyed, seen };
}

/** One request, which is one round: [key, value] sets, [key] removes. */
async function publish(changes) {
	const messages = changes.map(([key, value]) =>
		value === undefined ? { topic: "levels", key, remove: true, data: null } : { topic: "levels", key, data: value });
	for (const [key, value] of changes) {
		if (value === undefined) truth.delete(key);
		else truth.set(key, value);
	}
	return app.api("publish", messages);
}

const isRight = keyed => keyed.whole && JSON.stringify([...keyed.map].sort()) === JSON.stringify([...truth].sort());

test("a Map that is opened late is right at once, and stays right", async () => {
	const early = follow();
	await until(() => early.one.state === "open");
	for (let n = 0; n < 40; n++)
		await publish([[`k${n % 7}`, n], ...(n % 5 === 3 ? [[`k${(n + 3) % 7}`]] : []), [`x${n % 3}`, n]]);
	await until(() => isRight(early.keyed), "the early one");
	const late = follow();
	await until(() => isRight(late.keyed), "the late one");
	assert.equal(late.seen.length, truth.size, "each key came once");
	await publish([["k0", "new"], ["x0"]]);
	await until(() => isRight(early.keyed) && isRight(late.keyed), "both");
	// The newest is a removal, which no state has: the next update or a heartbeat says that nothing is missing.
	const last = follow();
	await until(() => last.keyed.map.size === truth.size, "the last one");
	await publish([["k1", "more"]]);
	await until(() => isRight(last.keyed), "the last one, whole");
	for (const { keyed } of [early, late]) assert.deepEqual([keyed.gaps, keyed.resyncs], [0, 0]);
});

test("a lost connection is resumed; a server that was killed is another epoch, and the Map begins anew", async () => {
	const reader = follow(), { keyed } = reader;
	let resyncs = 0;
	keyed.on("resync", () => resyncs++);
	await publish([["a", 1], ["b", 2]]);
	await until(() => isRight(keyed), "the state");
	await app.stop("SIGKILL");
	await until(() => reader.one.state !== "open");
	assert.deepEqual([...keyed.map].sort(), [["a", 1], ["b", 2]], "what was known stays known");
	truth.clear();
	await app.start();
	await publish([["b", 3], ["c", 4]]);
	await until(() => isRight(keyed), "the new state");
	assert.deepEqual([keyed.gaps, keyed.resyncs, resyncs], [0, 1, 1]);
	await publish([["a", 5]]);
	await until(() => isRight(keyed), "what came after it");
});

test("at two updates a second it gets the newest of each key, and misses nothing", async () => {
	const paced = follow({ rate: 2 });
	await publish([["a", 0]]);
	await until(() => isRight(paced.keyed), "the state");
	for (let n = 1; n <= 50; n++) await publish([["a", n], ["b", n]]);
	await until(() => isRight(paced.keyed), "the newest");
	assert(paced.seen.length < 40, `${paced.seen.length} changes`);
	assert.equal(paced.keyed.gaps, 0);
});
