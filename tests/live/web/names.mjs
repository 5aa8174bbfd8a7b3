// SPDX-License-Identifier: MIT
/** names.mjs CLIENT: what ringcast.js calls its events and methods for those who come from tutorials, and join() and reset(). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Fake, pause, until } from "./fake.mjs";

const { Ringcast } = await import(process.argv[2]);
const QUICK = { minDelay: 10, maxDelay: 40, ackTimeout: 100, upgradeAfter: 60_000 };
const alive = new Set();

async function serve() {
	const server = await new Fake().start();
	alive.add({ close: () => server.stop() });
	return server;
}

function client(server, options = {}) {
	const made = new Ringcast(server.url, { ...QUICK, ...options });
	alive.add(made);
	return made;
}

test.afterEach(async () => {
	for (const each of alive) await each.close();
	alive.clear();
});

test("open and close come in turn, whatever they are called", async () => {
	const server = await serve(), one = client(server), told = [];
	const names = ["open", "connect", "connected", "close", "disconnect", "disconnected", "reconnecting", "reconnected",
		"failed", "reconnect_failed", "error"];
	for (const name of names) one.on(name, event => told.push(event.type));
	await until(() => one.isConnected);
	assert.deepEqual(told.splice(0), ["open", "connect", "connected"]);
	server.peer.end(1001, "bye");
	await until(() => told.includes("reconnected"));
	assert.deepEqual(told.splice(0),
		["close", "disconnect", "disconnected", "reconnecting", "open", "connect", "connected", "reconnected"]);
	one.disconnect();
	assert.equal(one.isConnected, false);
	assert.deepEqual(told.splice(0), ["close", "disconnect", "disconnected"]);
	one.disconnect();
	assert.deepEqual(told, []);
});

test("a handler that closes the connection is told so", async () => {
	const server = await serve(), one = client(server), told = [];
	one.onOpen(() => one.close(1000, "enough"));
	one.onClose(event => told.push(event.reason));
	await until(() => one.state === "closed");
	assert.deepEqual(told, ["enough"]);
	one.connect();
	await until(() => told.length === 2);
});

test("a handler has what the tutorials look at: attempt, delay, code, reason, message", async () => {
	const server = await serve(), one = client(server, { maxTries: 2 }), told = [], all = [];
	one.onReconnecting(event => told.push(["reconnecting", event.attempt, event.delay <= 40]));
	one.onClose(event => told.push(["close", event.code, event.reason]));
	one.onError(event => told.push(["error", typeof event.message, event.code]));
	one.on("*", event => all.push(event.type));
	await until(() => one.state === "open");
	await server.stop();
	await until(() => one.state === "failed");
	assert.deepEqual(told, [["close", 1006, ""], ["reconnecting", 1, true], ["reconnecting", 2, true], ["error", "string", 1006]]);
	// The other names are not told twice to who hears all.
	assert.deepEqual(all.filter(type => type !== "state"), ["welcome"]);
});

test("onMessage hears each message once, and nothing that the server did not say", async () => {
	const server = await serve(), one = client(server, { heartbeat: 20 }), heard = [], prices = [], typed = [];
	one.onMessage(message => heard.push(message.type));
	one.on("message", () => typed.push("message"));
	one.registerHandler("stock_price", message => prices.push(message.price));
	one.subscribe("t");
	await until(() => server.heard.some(message => message.type === "ping"));
	server.peer.say("stock_price", { price: 7 }).say("message", { content: 1 });
	server.peer.say("update", { topic: "t", seq: 1, epoch: 5, data: 1 }).say("room_message", { id: "a-1", from: "you", room: "r", content: 1 });
	server.peer.say("batch", { messages: [{ type: "stock_price", price: 8 }] });
	await until(() => prices.length === 2);
	assert.deepEqual(prices, [7, 8]);
	assert.deepEqual(heard.filter(type => type !== "pong"),
		["welcome", "subscribed", "stock_price", "message", "update", "room_message", "stock_price"]);
	assert.equal(typed.length, heard.length);
	assert(!heard.includes("state") && !heard.includes("latency"));
});

test("once, off, addEventListener and removeEventListener", async () => {
	const server = await serve(), one = client(server), told = [];
	const mine = message => told.push(`mine ${message.n}`), other = message => told.push(`other ${message.n}`);
	one.once("x", message => told.push(`once ${message.n}`));
	one.addEventListener("x", mine);
	one.on("x", other);
	await until(() => one.state === "open");
	server.peer.say("x", { n: 1 }).say("x", { n: 2 }).say("end", {});
	const end = type => new Promise(done => one.once(type, done));
	await end("end");
	one.removeEventListener("x", mine);
	server.peer.say("x", { n: 3 }).say("end", {});
	await end("end");
	one.off("x");
	server.peer.say("x", { n: 4 }).say("end", {});
	await end("end");
	assert.deepEqual(told, ["once 1", "mine 1", "other 1", "mine 2", "other 2", "other 3"]);
});

test("rooms by the other names", async () => {
	const server = await serve(), one = client(server);
	await one.joinRoom("r");
	await one.sendToRoom("r", "hello");
	one.leaveRoom("r");
	await until(() => server.heard.some(message => message.type === "leave_room"));
	assert.deepEqual(server.heard.filter(message => message.type === "DATA").map(message => message.data.content), ["hello"]);
	await assert.rejects(one.sendToRoom("r", "late"), { code: "NOT_A_MEMBER" });
});

test("sendNow() sends once, as it is, or not at all", async () => {
	const server = await serve(), one = client(server);
	assert.equal(one.sendNow({ type: "cursor", x: 1 }), false);
	await until(() => one.isConnected);
	assert.equal(one.sendNow({ type: "cursor", room: "r", x: 2 }), true);
	await one.direct("you", "after");
	assert.deepEqual(server.heard[0], { type: "cursor", room: "r", x: 2 });
	assert.equal(one.queued, 0);
});

/** A server of which only events come through. */
async function eventsOnly() {
	const server = await serve();
	server.refuse = true;
	server.http = (_, answer) => {
		answer.writeHead(200, { "Content-Type": "text/event-stream" });
		answer.write('data: {"type":"subscribed","topics":[]}\n\n');
	};
	return server;
}

test("join() is refused where only feeds come, before and after they come", async () => {
	const server = await eventsOnly(), one = client(server);
	one.subscribe("t");
	await assert.rejects(one.join("r"), { code: "FEEDS_ONLY", message: "rooms need a WebSocket; only feeds come by sse" });
	assert.equal(one.transport, "sse");
	await assert.rejects(one.join("r"), { code: "FEEDS_ONLY" });
	await assert.rejects(one.join("other"), { code: "FEEDS_ONLY" });
});

test("a room that was entered before is entered again when a WebSocket comes back", async () => {
	const server = await eventsOnly(), one = client(server, { upgradeAfter: 50 });
	server.refuse = false;
	one.subscribe("t");
	await one.join("r");
	server.refuse = true;
	server.peer.drop();
	await until(() => one.transport === "sse");
	server.refuse = false;
	await until(() => one.transport === "websocket");
	await until(() => server.peer.heard.some(message => message.type === "join_room" && message.room === "r"));
});

test("join() ends when no try comes any more, and when the client is closed", async () => {
	const server = await serve();
	await server.stop();
	const one = client(server, { maxTries: 2 }), two = client(server);
	await assert.rejects(one.join("r"), { code: "OFFLINE" });
	const joining = assert.rejects(two.join("r"), { code: "OFFLINE" });
	two.close(1000, "enough");
	await joining;
	await server.start(server.port);
	two.connect();
	await two.join("r");
});

test("reset() leaves it as new, but connected", async () => {
	const server = await serve(), one = client(server), told = [];
	await one.join("r");
	one.subscribe("t", () => told.push("update"));
	one.on("x", () => told.push("x"));
	await until(() => server.heard.some(message => message.type === "subscribe"));
	one.reset();
	await until(() => server.heard.some(message => message.type === "unsubscribe") &&
		server.heard.some(message => message.type === "leave_room"));
	server.peer.say("x", {}).say("update", { topic: "t", seq: 1, epoch: 5, data: 1 });
	await pause(20);
	assert.deepEqual(told, []);
	assert.equal(one.state, "open");
	server.peer.drop();
	const peer = await server.next();
	await pause(30);
	assert.deepEqual(peer.heard.map(message => message.type), []);
});
