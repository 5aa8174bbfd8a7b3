// SPDX-License-Identifier: MIT
//
// app_ws.js URL PID: npm's ws in conversation with `ringcast app`. One line a test; the last ends the server by its pid.
"use strict";
const assert = require("node:assert");
const WebSocket = require("ws");

const [url, pid] = process.argv.slice(2);

function open(path, protocols = ["ringcast.json"]) {
	const ws = new WebSocket(url + path, protocols);
	const heard = [], waiting = [];
	const put = (event) => (waiting.length ? waiting.shift()(event) : heard.push(event));
	ws.on("message", (data) => put(JSON.parse(data)));
	ws.on("close", (code, reason) => put({ type: "close", code, reason: reason.toString() }));
	ws.say = (type, members = {}) => ws.send(JSON.stringify({ type, ...members }));
	ws.expect = async (type, members = {}) => {
		const message = await (heard.length ? heard.shift() : new Promise((done) => waiting.push(done)));
		for (const [name, value] of Object.entries({ type, ...members }))
			assert.deepStrictEqual(message[name], value, JSON.stringify(message));
		return message;
	};
	return new Promise((done, fail) => {
		ws.on("open", () => done(ws));
		ws.on("error", fail);
	});
}

const tests = {
	async rooms() {
		const [a, b] = [await open("/ws/a"), await open("/ws/b")];
		assert.strictEqual(a.protocol, "ringcast.json");
		for (const ws of [a, b])
			await ws.expect("welcome");
		a.say("join_room", { room: "r" });
		await a.expect("room_joined", { room: "r" });
		b.say("join_room", { room: "r" });
		await b.expect("room_joined", { room: "r" });
		await a.expect("user_joined", { userId: "b", room: "r" });
		for (let n = 0; n < 300; n++)
			a.say("room_message", { room: "r", content: `${n} \u20ac` });
		for (let n = 0; n < 300; n++)
			await b.expect("room_message", { from: "a", content: `${n} \u20ac` });
		b.close();
		await a.expect("user_left", { userId: "b" });
		a.close();
	},
	async reliable() {
		const a = await open("/ws/a"), b = await open("/ws/b?reliable=1");
		await a.expect("welcome");
		await b.expect("welcome");
		a.say("DATA", { id: "1", data: { type: "direct", to: "b", content: "once" }, timestamp: Date.now() });
		await a.expect("ACK", { data: { messageId: "1" } });
		const data = await b.expect("DATA");
		assert.strictEqual(data.data.content, "once");
		b.say("ACK", { data: { messageId: data.id } });
		b.say("ping", { timestamp: 5 });
		await b.expect("pong", { timestamp: 5 });
	},
	async going_away() {
		const ws = await open("/ws");
		await ws.expect("welcome");
		process.kill(Number(pid), "SIGTERM");
		const { reconnectAfter } = await ws.expect("going_away");
		assert(reconnectAfter > 0);
		await ws.expect("close", { code: 1001 });
	},
};

(async () => {
	let failed = 0;
	for (const [name, test] of Object.entries(tests)) {
		const limit = new Promise((_, fail) => setTimeout(fail, 10000, new Error("not done in time")).unref());
		try {
			await Promise.race([test(), limit]);
			console.log("ok ws_" + name);
		} catch (error) {
			failed++;
			console.log(`FAIL ws_${name}: ${error.message}`);
		}
	}
	process.exit(failed ? 1 : 0);
})();
