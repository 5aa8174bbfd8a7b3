// SPDX-License-Identifier: MIT
/**
 * msgpack.mjs URL MODULES: the subprotocol ringcast.msgpack by the MessagePack of others, npm's @msgpack/msgpack and msgpackr,
 * over npm's ws; beside a client that speaks JSON, which is the judge.
 */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, test } from "node:test";

const [url, modules] = process.argv.slice(2);
const WebSocket = createRequire(import.meta.url)("ws"), npm = createRequire(`${modules}/.`);
const { decode, encode } = npm("@msgpack/msgpack"), { Packr } = npm("msgpackr");
// It makes a BigInt of what needs 64 bits, unless it is told not to; a time in milliseconds does.
const packr = new Packr({ useRecords: false, int64AsType: "number" });
const packers = { "@msgpack/msgpack": [encode, decode], msgpackr: [value => packr.pack(value), bytes => packr.unpack(bytes)] };
const json = [JSON.stringify, JSON.parse], all = [];
after(() => all.forEach(ws => ws.terminate()));

function open(path, protocol, [write, read]) {
	const ws = new WebSocket(url + path, [protocol]), heard = [], waiting = [];
	all.push(ws);
	ws.on("message", (data, isBinary) => {
		assert.equal(isBinary, protocol === "ringcast.msgpack", "binary frames, or text");
		const message = read(data);
		waiting.length ? waiting.shift()(message) : heard.push(message);
	});
	ws.say = (type, members = {}) => ws.send(write({ type, ...members }));
	ws.hear = async () => (heard.length ? heard.shift() : new Promise(done => waiting.push(done)));
	ws.expect = async (type, members = {}) => {
		const message = await ws.hear();
		for (const [name, value] of Object.entries({ type, ...members })) assert.deepEqual(message[name], value, JSON.stringify(message));
		return message;
	};
	return new Promise((done, fail) => ws.on("open", () => done(ws)).on("error", fail));
}

/** What JSON has, at the edges of MessagePack's own sizes. */
const values = [
	"", "\u0000 \u20ac \u{1f600}", "x".repeat(31), "x".repeat(32), "x".repeat(255), "x".repeat(256), 0, 127, 128, -1, -32, -33, 255, 256,
	65535, 65536, -32768, -32769, 2 ** 31, 2 ** 32, -(2 ** 31) - 1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 0.1, -1.5e-300, true,
	false, [], {}, [1, [2, [3, null]]], Array.from({ length: 70 }, (_, n) => n), { a: { b: { c: [null, "\u00e4"] } } },
	Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`key${n}`, n])),
];

for (const [name, packer] of Object.entries(packers)) {
	test(`${name}: a room, both ways`, async () => {
		const room = `r ${name}`, one = await open("/ws/one", "ringcast.msgpack", packer), judge = await open("/ws/judge", "ringcast.json", json);
		assert.equal(one.protocol, "ringcast.msgpack");
		for (const ws of [one, judge]) await ws.expect("welcome");
		one.say("join_room", { room, id: 1 });
		await one.expect("room_joined", { room, id: 1 });
		judge.say("join_room", { room });
		await judge.expect("room_joined", { room });
		await one.expect("user_joined", { userId: "judge" });
		const some = values.filter(value => value !== "");
		for (const content of some) one.say("room_message", { room, content });
		for (const content of some) await judge.expect("room_message", { from: "one", content });
		for (const content of some) judge.say("room_message", { room, content });
		for (const content of some) {
			const { timestamp } = await one.expect("room_message", { from: "judge", content });
			assert.ok(Math.abs(timestamp - Date.now()) < 600_000, `a time in milliseconds: ${timestamp}`);
		}
		one.say("direct", { to: "one", content: "x".repeat(40_000) });
		await one.expect("direct", { content: "x".repeat(40_000) });
		for (const ws of [one, judge]) ws.close();
	});

	test(`${name}: reliably, and in batches`, async () => {
		const one = await open("/ws/one?reliable=1", "ringcast.msgpack", packer);
		await one.expect("welcome");
		one.say("DATA", { id: name, data: { type: "direct", to: "one", content: "once" }, timestamp: Date.now() });
		// Its own message may come before the acknowledgement or after it.
		for (const message of [await one.hear(), await one.hear()])
			if (message.type === "DATA") one.say("ACK", { data: { messageId: message.id } });
			else assert.deepEqual([message.type, message.id], ["ACK", name]);
		one.say("batch", { messages: [1, 2, 3].map(timestamp => ({ type: "ping", timestamp })) });
		for (const timestamp of [1, 2, 3]) await one.expect("pong", { timestamp });
		one.say("subscribe", { topics: ["feed"] });
		await one.expect("subscribed");
		one.close();
	});

	test(`${name}: what JSON has not is refused, and harms nothing`, async () => {
		const one = await open("/ws/one", "ringcast.msgpack", packer);
		await one.expect("welcome");
		for (const content of [new Uint8Array([1, 2, 3]), new Date(0), NaN, Infinity]) {
			one.say("direct", { to: "one", content });
			await one.expect("error", { code: "INVALID_JSON" });
		}
		for (const bytes of [packer[0]({ type: "ping" }).subarray(1), Buffer.from([0xc1]), Buffer.alloc(0), packer[0]([1, 2])]) {
			one.send(bytes);
			await one.expect("error", { code: "INVALID_JSON" });
		}
		one.say("ping", { timestamp: 7 });
		await one.expect("pong", { timestamp: 7 });
		one.close();
	});
}
