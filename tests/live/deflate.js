// SPDX-License-Identifier: MIT
//
// deflate.js URL: npm's ws with perMessageDeflate against a server that has --echo --deflate --cohort 'hot*'. Ends with
// "done", or with what went wrong.
"use strict";
const assert = require("node:assert");
const crypto = require("node:crypto");
const WebSocket = require("ws");

const url = process.argv[2];

function open(path, perMessageDeflate) {
	const ws = new WebSocket(url + path, { perMessageDeflate });
	const events = [], waiting = [];
	const put = (event) => (waiting.length ? waiting.shift()(event) : events.push(event));
	ws.on("message", (data, isBinary) => put({ data, isBinary }));
	ws.on("close", (code) => put({ code }));
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

const text = (i) => JSON.stringify({ type: "ticker", sequence: 1e9 + i, price: (30000 + ((i * 7919) % 997) / 10).toFixed(2),
	product: ["BTC-USD", "ETH-USD", "BAND-GBP"][i % 3], note: "x".repeat(i % 90) });

async function echo() {
	const all = [{ threshold: 0 }, { threshold: 0, serverNoContextTakeover: true }, { threshold: 0, clientNoContextTakeover: true },
		{ threshold: 100, serverMaxWindowBits: 8 }];
	for (let bits = 9; bits <= 15; bits++)
		all.push({ threshold: 0, serverMaxWindowBits: bits, clientMaxWindowBits: bits });
	for (const options of all) {
		const ws = await open("/echo", options);
		assert.match(ws.extensions, /^permessage-deflate/);
		for (let i = 0; i < 60; i++) {
			ws.send(text(i));
			assert.strictEqual(await ws.text(), text(i));
		}
		for (const size of [0, 1, 126, 65536, 500000]) {
			const data = crypto.randomBytes(size);
			ws.send(data);
			assert(data.equals((await ws.next()).data), `${size} bytes`);
		}
		ws.send("in ", { fin: false });
		ws.send("pieces ", { fin: false });
		ws.send("\u20ac".repeat(9000), { fin: true });
		assert.strictEqual(await ws.text(), "in pieces " + "\u20ac".repeat(9000));
		ws.close();
		assert.strictEqual((await ws.next()).code, 1005);
	}
}

async function topic(name) {
	const writer = await open("/publish/" + name, false), readers = [];
	for (let i = 0; i < 400; i++) {
		if (i % 40 === 0)
			readers.push(await open("/topic/" + name, i % 80 ? true : { serverMaxWindowBits: 9 + (i / 80) % 7 }));
		writer.send(text(i));
		for (const reader of readers)
			assert.strictEqual(await reader.text(), text(i));
	}
	for (const ws of [writer, ...readers])
		ws.terminate();
}

echo().then(() => topic("hot")).then(() => topic("cold")).then(() => {
	console.log("done");
	process.exit(0);
}, (error) => {
	console.log(error.stack);
	process.exit(1);
});
