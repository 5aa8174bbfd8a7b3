// SPDX-License-Identifier: MIT
/** live.mjs PROGRAM CLIENT: ringcast.js under Node against the real server, which is killed and started again. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { App } from "./app.mjs";
import { pause, until } from "./fake.mjs";

const [program, path] = process.argv.slice(2);
const { Ringcast } = await import(path);
const clients = [];
let app;

function client(user, options = {}) {
	const one = new Ringcast(`ws://${app.url}/ws/${user}`, { minDelay: 20, maxDelay: 100, maxTries: 1_000, ...options });
	clients.push(one);
	one.heard = [];
	one.on("room_message", message => one.heard.push(`${message.from} ${message.content}`));
	return one;
}

test.beforeEach(async () => void (app = await new App(program).start()));
test.afterEach(async () => {
	for (const one of clients.splice(0)) one.close();
	await app.stop();
});

test("two talk; the server is killed three times; nothing lost, nothing twice, in order", async () => {
	const a = client("a", { requestTimeout: 500 }), b = client("b", { requestTimeout: 500 });
	await Promise.all([a.join("r"), b.join("r")]);
	let count = 0;
	const talk = () => [a.say("r", ++count), b.say("r", count)];
	for (let round = 0; round < 3; round++) {
		for (let i = 0; i < 20; i++) await Promise.all(talk());
		await until(() => a.heard.length === count && b.heard.length === count, `all of ${count} before the kill`);
		await app.stop("SIGKILL");
		const sent = [];
		for (let i = 0; i < 20; i++) sent.push(...talk());
		await until(() => a.state !== "open" && b.state !== "open");
		assert.equal(a.queued, 20);
		await app.start();
		await Promise.all(sent);
		await until(() => a.heard.length >= count && b.heard.length >= count, `all of ${count} after the start`);
	}
	await pause(200);
	const all = [...Array(count).keys()].map(n => n + 1);
	assert.deepEqual(a.heard, all.map(n => `b ${n}`));
	assert.deepEqual(b.heard, all.map(n => `a ${n}`));
});

test("killed in the middle of it: nothing twice, and nothing lost of what was not acknowledged", async () => {
	const a = client("a", { requestTimeout: 500 }), b = client("b", { requestTimeout: 500 });
	await Promise.all([a.join("r"), b.join("r")]);
	const acknowledged = new Set(), sent = [];
	let atKill = null;
	for (let n = 0; n < 400; n++) {
		sent.push(a.say("r", n).then(() => acknowledged.add(n)));
		if (n === 200) {
			app.process.kill("SIGKILL");
			atKill = new Set(acknowledged);
		}
		if (n % 10 === 0) await pause(1);
	}
	await app.stop();
	const safe = [...Array(400).keys()].filter(n => !acknowledged.has(n));
	await app.start();
	await Promise.all(sent);
	await until(() => safe.every(n => b.heard.includes(`a ${n}`)), "what was not acknowledged");
	assert(atKill.size < 400 && safe.length >= 199, `${atKill.size} ${safe.length}`);
	await pause(200);
	assert.equal(new Set(b.heard).size, b.heard.length, "twice");
});

test("feeds are resumed where a connection broke, from what the log still has", async () => {
	const reader = client("reader"), seen = [], gaps = [];
	reader.subscribe(["f", "g/*"], (data, update) => seen.push(`${update.topic} ${data}`));
	reader.on("gap", gap => gaps.push(gap));
	await until(() => reader.state === "open");
	await reader.request({ type: "ping" });
	const publish = async (topic, from, to) => {
		for (let n = from; n <= to; n++) await app.api("publish", { topic, data: n });
	};
	await publish("f", 1, 30);
	await publish("g/1", 1, 5);
	await until(() => seen.length === 35);
	await app.api("disconnect", { userId: "reader" });
	await publish("f", 31, 60);
	await publish("g/1", 6, 9);
	await until(() => seen.length === 69, "what was missed");
	assert.deepEqual(seen.filter(each => each.startsWith("f")), [...Array(60).keys()].map(n => `f ${n + 1}`));
	assert.deepEqual(seen.filter(each => each.startsWith("g")), [...Array(9).keys()].map(n => `g/1 ${n + 1}`));
	assert.deepEqual(gaps, []);
});

test("a restarted server's feed is new, and the client says so", async () => {
	const reader = client("reader"), seen = [], gaps = [];
	reader.subscribe("f", data => seen.push(data));
	reader.on("gap", gap => gaps.push(gap));
	await until(() => reader.state === "open");
	await reader.request({ type: "ping" });
	for (let n = 1; n <= 3; n++) await app.api("publish", { topic: "f", data: `old ${n}` });
	await until(() => seen.length === 3);
	await app.stop();
	await app.start();
	for (let n = 1; n <= 5; n++) await app.api("publish", { topic: "f", data: `new ${n}` });
	await until(() => seen.length === 8, `all: ${seen}`);
	assert.deepEqual(seen.slice(3), [1, 2, 3, 4, 5].map(n => `new ${n}`));
	assert.deepEqual(gaps.map(({ topic, reset }) => [topic, reset]), [["f", true]]);
});

test("direct messages wait for who is away, and come once, acknowledged", async () => {
	const a = client("a"), got = [];
	for (let n = 0; n < 20; n++) a.direct("b", n);
	await until(() => a.queued === 0);
	const b = client("b");
	b.on("direct", message => got.push(message.content));
	await until(() => got.length === 20);
	await a.direct("b", 20);
	await until(() => got.length === 21);
	assert.deepEqual(got, [...Array(21).keys()]);
	assert.equal((await app.api("stats")).resent, 0);
});

test("gathered into batches, it is the same", async () => {
	const a = client("a"), b = client("b", { batch: { count: 50, delay: 30 } });
	await Promise.all([a.join("r"), b.join("r")]);
	for (let n = 0; n < 60; n++) a.say("r", n);
	await until(() => b.heard.length === 60);
	assert.deepEqual(b.heard, [...Array(60).keys()].map(n => `a ${n}`));
});

test("history, members, and what is refused", async () => {
	const a = client("a"), b = client("b");
	await Promise.all([a.join("r"), b.join("r")]);
	assert.deepEqual((await a.members("r")).members.sort(), ["a", "b"]);
	await a.say("r", { any: ["value"] });
	const page = await b.history({ room: "r" });
	assert.deepEqual(page.messages.map(message => message.content), [{ any: ["value"] }]);
	await assert.rejects(a.broadcast("x"), { code: "PERMISSION_DENIED" });
	await assert.rejects(a.say("r", "x".repeat(1_001)), { code: "TOO_LONG" });
	b.leave("r");
	await until(async () => (await a.members("r")).count === 1);
});

test("a server that goes away in order spreads its clients, and has them back", async () => {
	const a = client("a"), states = [];
	a.on("state", event => states.push(event));
	await a.join("r");
	await app.stop("SIGTERM");
	await until(() => states.some(event => event.state === "waiting" && event.code === 1001 && event.delay >= 20 && event.delay <= 200));
	await app.start();
	await until(() => a.state === "open");
});

for (const kind of ["sse", "poll"]) {
	test(`feeds by ${kind} alone: by name and by pattern, in order, over a server that is killed`, async () => {
		const one = client("a", { transports: [kind] }), heard = { f: [], "p/a": [], "p/b": [] };
		const gaps = [];
		const take = (data, update) => heard[update.topic].push(data);
		one.on("gap", gap => gaps.push(gap));
		one.subscribe("f", take);
		one.subscribe("p/*", take);
		await until(() => one.state === "open" && one.transport === kind);
		const publish = async (topic, from, to) => {
			for (let n = from; n < to; n++) await app.api("publish", { topic, data: n });
		};
		await pause(200); // a first poll says where the topics stand
		await Promise.all([publish("f", 0, 100), publish("p/a", 0, 100)]);
		await until(() => heard.f.length === 100 && heard["p/a"].length === 100);
		await publish("p/b", 0, 10);
		await until(() => heard["p/b"].length === 10);
		assert.deepEqual(gaps, []);
		await app.stop("SIGKILL");
		await until(() => one.state !== "open");
		await app.start();
		await publish("f", 100, 110);
		await until(() => heard.f.length === 110);
		await publish("p/a", 100, 105);
		await until(() => heard["p/a"].length === 105);
		assert.deepEqual(heard.f, [...Array(110).keys()]);
		assert.deepEqual(heard["p/a"], [...Array(105).keys()]);
		assert.ok(gaps.every(gap => gap.reset), "what a server took with it is told");
	});
}

test("a proxy lets no WebSocket through: events come instead, and the way back is found", async () => {
	let broken = true;
	class Blocked extends (globalThis.WebSocket ?? (await import("node:module")).createRequire(import.meta.url)("ws")) {
		constructor(address, protocols) {
			super(broken ? address.replace("/ws/", "/no-such-path/") : address, protocols);
		}
	}
	const one = client("a", { WebSocket: Blocked, upgradeAfter: 300 }), heard = [];
	one.subscribe("f", data => heard.push(data));
	await until(() => one.transport === "sse", "the stream");
	for (let n = 0; n < 50; n++) {
		await app.api("publish", { topic: "f", data: n });
		if (n === 20) broken = false;
		await pause(20);
	}
	await until(() => one.transport === "websocket", "the way back");
	await until(() => heard.length >= 50, "all");
	assert.deepEqual(heard, [...Array(50).keys()]);
});
