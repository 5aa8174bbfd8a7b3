// SPDX-License-Identifier: MIT
//
// ws.js URL PID: npm's ws against a running server. One line a test; the last test ends the server by its pid.
"use strict";
const assert = require("node:assert");
const crypto = require("node:crypto");
const WebSocket = require("ws");

const [url, pid] = process.argv.slice(2);

// A connection whose messages, pongs and end are awaited one after the other.
function open(path, protocols) {
	const ws = new WebSocket(url + path, protocols);
	const events = [], waiting = [];
	const put = (event) => (waiting.length ? waiting.shift()(event) : events.push(event));
	ws.on("message", (data, isBinary) => put({ data, isBinary }));
	ws.on("pong", (data) => put({ pong: data }));
	ws.on("close", (code, reason) => put({ code, reason: reason.toString() }));
	ws.next = () => (events.length ? Promise.resolve(events.shift()) : new Promise((done) => waiting.push(done)));
	ws.text = async () => {
		const event = await ws.next();
		assert(event.data && !event.isBinary, "a text message, got " + JSON.stringify(event));
		return event.data.toString();
	};
	return new Promise((done, fail) => {
		ws.on("open", () => done(ws));
		ws.on("error", fail);
	});
}

const tests = {
	async echo() {
		const ws = await open("/echo");
		assert.strictEqual(ws.extensions, "", "deflate, which it offers");
		for (const size of [0, 1, 125, 126, 65535, 65536, 1 << 20]) {
			const data = crypto.randomBytes(size);
			ws.send(data);
			const event = await ws.next();
			assert(event.isBinary && data.equals(event.data), `binary of ${size} bytes`);
			const text = "\u00e4\u20ac".repeat(size).slice(0, size / 3);
			ws.send(text);
			assert((await ws.text()) === text, `text of ${text.length} characters`);
		}
		ws.close();
	},
	async fragments_and_pings() {
		const ws = await open("/echo");
		ws.send("one ", { fin: false });
		ws.ping("between");
		ws.send("two ", { fin: false });
		ws.send("\u20ac".repeat(30000), { fin: true });
		assert.strictEqual((await ws.next()).pong.toString(), "between");
		assert.strictEqual(await ws.text(), "one two " + "\u20ac".repeat(30000));
		for (const payload of [Buffer.alloc(0), Buffer.alloc(125, 7)]) {
			ws.ping(payload);
			assert(payload.equals((await ws.next()).pong));
		}
		ws.close();
	},
	async close_codes() {
		for (const [code, reason] of [[1000, ""], [1001, "bye"], [3000, "\u20ac".repeat(41)], [4999, "x".repeat(123)]]) {
			const ws = await open("/echo");
			ws.close(code, reason);
			assert.strictEqual((await ws.next()).code, code);
		}
	},
	async topics() {
		const both = await open("/topic/A,B"), one = await open("/topic/A");
		const toA = await open("/publish/A"), toB = await open("/publish/B");
		for (let i = 0; i < 500; i++)
			toA.send(`${i} ` + "x".repeat((i * 7) % 300));
		for (let i = 0; i < 500; i++)
			for (const ws of [both, one])
				assert.strictEqual(await ws.text(), `${i} ` + "x".repeat((i * 7) % 300));
		toB.send(Buffer.from([1, 2]));
		assert((await both.next()).data.equals(Buffer.from([1, 2])));
		const late = await open("/topic/A?since=490");
		for (let i = 490; i < 500; i++)
			assert.strictEqual((await late.text()).split(" ")[0], String(i));
		const relay = await open("/relay/R");
		relay.send("to myself");
		assert.strictEqual(await relay.text(), "to myself");
	},
	async refused() {
		const error = await open("/nowhere").catch((error) => error);
		assert.match(String(error), /404/);
	},
	async going_away() {
		const ws = await open("/echo");
		process.kill(Number(pid), "SIGTERM");
		assert.strictEqual((await ws.next()).code, 1001);
	},
};

(async () => {
	let failed = 0;
	for (const [name, test] of Object.entries(tests)) {
		const limit = new Promise((_, fail) => setTimeout(fail, 10000, new Error("not done in time")).unref());
		try {
			await Promise.race([test(), limit]);
			console.log("ok " + name);
		} catch (error) {
			failed++;
			console.log(`FAIL ${name}: ${error.message}`);
		}
	}
	process.exit(failed ? 1 : 0);
})();
