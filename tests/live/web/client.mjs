// SPDX-License-Identifier: MIT
/** client.mjs CLIENT: ringcast.js, wherever it lies, under Node against a server that misbehaves on purpose (fake.mjs). */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, test } from "node:test";
import { Fake, pause, until } from "./fake.mjs";

const { Ringcast } = await import(process.argv[2]);
// The small file is for browsers, which have one.
if (process.argv[2].includes(".min.")) globalThis.WebSocket ??= createRequire(import.meta.url)("ws");
const QUICK = { minDelay: 10, maxDelay: 40, ackTimeout: 100, upgradeAfter: 150 };
const alive = new Set();

async function serve() {
	const server = await new Fake().start();
	alive.add({ close: () => server.stop() });
	return server;
}

function client(server, options = {}) {
	const made = new Ringcast(server.url, { ...QUICK, ...options });
	alive.add(made);
	made.states = [];
	made.on("state", event => made.states.push(event));
	return made;
}

const collect = (client, type) => {
	const list = [];
	client.on(type, message => list.push(message));
	return list;
};
const data = server => server.heard.filter(message => message.type === "DATA");
const contents = list => list.map(message => message.content);
const said = (seq, content, more = {}) =>
	({ type: "room_message", id: `a-${seq}`, from: "you", room: "r", content, timestamp: 0, ...more });

/** localStorage, as far as it is used. */
class Store extends Map {
	getItem = name => this.get(name) ?? null;
	setItem = (name, value) => void this.set(name, String(value));
	removeItem = name => void this.delete(name);
	key = index => [...this.keys()][index] ?? null;
	get length() {
		return this.size;
	}
}

test.afterEach(async () => {
	for (const each of alive) await each.close();
	alive.clear();
});

for (const [code, how] of [[3401, "at once"], [3403, "at once"], [1008, "at once"], [3401, "later"]])
	test(`a refusal with ${code} ${how} is the end, and says why`, async () => {
		const server = await serve();
		server.welcome = how === "later" ? peer => void peer.say("welcome", { clientId: "x" }).end(code, "no such token")
			: peer => void peer.end(code, "no such token");
		const one = client(server), refused = collect(one, "refused");
		await assert.rejects(one.join("r"), { code: "REFUSED", message: "no such token" });
		assert.equal(one.state, "failed");
		assert.deepEqual(refused.map(({ code, reason }) => [code, reason]), [[code, "no such token"]]);
		await pause(150);
		assert.equal(server.peers.length, 1, "it does not come again by itself");
		assert.match(server.peers[0].path, /refusals=1/);
		server.welcome = () => ({ userId: "me" });
		one.connect();
		await until(() => one.state === "open");
	});

test("too many is told, and tried again later", async () => {
	const server = await serve();
	server.welcome = peer => void peer.end(3429, "too many connections");
	const one = client(server, { maxDelay: 200 });
	await until(() => one.state === "waiting");
	const waiting = one.states.at(-1);
	assert.deepEqual([waiting.code, waiting.reason], [3429, "too many connections"]);
	assert.ok(waiting.delay >= 100, `after ${waiting.delay} ms`);
	server.welcome = () => ({ userId: "me" });
	await until(() => one.state === "open");
});

test("handlers by type, and what one of them throws is not the others' concern", async () => {
	const server = await serve(), told = [], reports = [];
	globalThis.reportError = error => reports.push(error.message);
	const one = client(server);
	one.on("direct", () => {
		throw new Error("mine");
	});
	const off = one.on("direct", message => told.push(message.content));
	one.on("*", message => told.push(`any ${message.type}`));
	await until(() => one.state === "open");
	assert.equal(one.userId, "me");
	assert.equal(one.transport, "websocket");
	server.peer.say("direct", { id: "1", from: "you", content: "hello" }).say("direct", { id: "2", from: "you", content: "again" });
	await until(() => told.includes("again"));
	off();
	server.peer.say("direct", { id: "3", from: "you", content: "unheard" }).say("other", {});
	await until(() => told.includes("any other"));
	assert.deepEqual(told.filter(each => !/state|welcome/.test(each)),
		["hello", "any direct", "again", "any direct", "any direct", "any other"]);
	assert.deepEqual(reports, ["mine", "mine", "mine"]);
	assert.match(server.peer.path, /^\/ws\/me\?reliable=1&refusals=1$/);
	delete globalThis.reportError;
});

test("tries come further and further apart, with jitter, and end after as many as allowed", async () => {
	const server = await serve();
	await server.stop();
	const one = client(server, { minDelay: 8, maxDelay: 50, maxTries: 6 });
	await until(() => one.state === "failed");
	const delays = one.states.filter(each => each.state === "waiting").map(each => each.delay);
	assert.equal(delays.length, 6);
	[8, 16, 32, 50, 50, 50].forEach((whole, index) =>
		assert(delays[index] >= whole / 2 - 1 && delays[index] <= whole + 1, `delay ${index}: ${delays[index]} of ${whole}`));
	await server.start(server.port);
	one.connect();
	await until(() => one.state === "open");
});

test("an open connection that is shown out at once counts as no success", async () => {
	const server = await serve();
	server.welcome = peer => void peer.say("welcome", { clientId: "x", userId: "me" }).end(1008, "no");
	const one = client(server, { maxTries: 4 });
	await until(() => one.state === "failed");
	assert.equal(server.peers.length, 5);
	const last = one.states.at(-1);
	assert.equal(last.code, 1008);
	assert.equal(last.reason, "no");
});

test("what is sent while offline waits, goes out in order, and is done when acknowledged", async () => {
	const server = await serve();
	await server.stop();
	const one = client(server), done = [];
	for (let i = 0; i < 50; i++) one.direct("you", i).then(() => done.push(i));
	assert.equal(one.queued, 50);
	await assert.rejects(client(server, { queueMax: 0 }).direct("you", 1), { code: "QUEUE_FULL" });
	await server.start(server.port);
	await until(() => done.length === 50);
	assert.equal(one.queued, 0);
	assert.deepEqual(data(server).map(message => message.data.content), [...Array(50).keys()]);
	for (const message of data(server)) assert.equal(message.id, message.data.id);
});

test("no more than a window is on the way", async () => {
	const server = await serve(), answer = server.answer;
	server.answer = message => message.type === "DATA" || undefined;
	const one = client(server, { window: 3, ackTimeout: 60_000 });
	await until(() => one.state === "open");
	for (let i = 0; i < 10; i++) one.direct("you", i);
	await until(() => data(server).length === 3);
	await pause(30);
	assert.equal(data(server).length, 3);
	server.answer = answer;
	for (const message of data(server)) answer(message, server.peer);
	await until(() => one.queued === 0);
});

test("without ACK a message is sent again under its id, a bounded number of times", async () => {
	const server = await serve();
	server.answer = () => {};
	const one = client(server, { ackTimeout: 20, resendMax: 2 });
	await assert.rejects(one.direct("you", 1), { code: "NOT_ACKNOWLEDGED" });
	assert.equal(data(server).length, 3);
	assert.equal(new Set(data(server).map(message => message.id)).size, 1);
	assert.equal(one.queued, 0);
});

test("what was not acknowledged when the connection broke goes again under its id on the next", async () => {
	const server = await serve(), answer = server.answer;
	server.answer = (message, peer) => message.type === "DATA" && data(server).length === 2 && peer.drop();
	const one = client(server, { ackTimeout: 60_000 });
	one.direct("you", "a");
	one.direct("you", "b");
	await until(() => one.state === "waiting");
	server.answer = answer;
	await until(() => one.queued === 0);
	const ids = data(server).map(message => message.id);
	assert.deepEqual(ids.slice(0, 2), ids.slice(2));
});

test("a queue in storage outlives its page, and two pages do not write over each other", async () => {
	const server = await serve(), store = new Store();
	store.setItem("unrelated", "x");
	await server.stop();
	const pages = [client(server, { storage: "q", store }), client(server, { storage: "q", store })];
	pages[0].direct("you", 1);
	await pause(2);
	pages[1].direct("you", 2);
	await pause(2);
	pages[0].direct("you", 3);
	pages.forEach(page => page.close());
	assert.equal(store.size, 4);
	await server.start(server.port);
	const next = client(server, { storage: "q", store });
	assert.equal(next.queued, 3);
	await until(() => next.queued === 0);
	assert.deepEqual(data(server).map(message => message.data.content), [1, 2, 3]);
	assert.deepEqual([...store.keys()], ["unrelated"]);
	assert.equal(client(server, { storage: "q", store }).queued, 0);
});

test("the server's DATA is acknowledged each time and handled once, over connections too", async () => {
	const server = await serve(), one = client(server), heard = collect(one, "note");
	await until(() => one.state === "open");
	const again = { id: "7", data: { type: "note", content: "once" } };
	server.peer.say("DATA", again).say("DATA", again);
	await until(() => server.heard.filter(message => message.type === "ACK").length === 2);
	server.peer.drop();
	const peer = await server.next();
	peer.say("DATA", again).say("DATA", { id: "8", data: { type: "note", content: "two" } });
	await until(() => peer.heard.filter(message => message.type === "ACK").length === 2);
	assert.deepEqual(peer.heard.map(message => message.data?.messageId).filter(Boolean), ["7", "8"]);
	assert.deepEqual(contents(heard), ["once", "two"]);
});

test("a batch is its messages", async () => {
	const server = await serve(), one = client(server, { batch: { count: 9, delay: 50 } }), heard = collect(one, "direct");
	await until(() => server.heard.some(message => message.type === "batching" && message.count === 9 && message.delay === 50));
	server.peer.say("batch", { messages: [1, 2].map(id => ({ type: "direct", id: String(id), from: "you", content: id })) });
	await until(() => heard.length === 2);
});

test("a server that is silent is left", async () => {
	const server = await serve(), one = client(server, { heartbeat: 100, heartbeatTimeout: 100 });
	const latency = collect(one, "latency");
	await until(() => latency.length >= 2);
	assert(latency.every(each => each.ms >= 0), JSON.stringify(latency));
	server.answer = () => {};
	await server.next();
	assert.equal(one.states.find(each => each.state === "waiting").reason, "nothing heard");
});

test("no welcome is no connection", async () => {
	const server = await serve();
	server.welcome = () => null;
	const one = client(server, { connectTimeout: 50 });
	await until(() => server.peers.length >= 2);
	assert(!one.states.some(each => each.state === "open"));
});

test("a server that goes away says when to come back", async () => {
	const server = await serve(), one = client(server);
	await until(() => one.state === "open");
	server.peer.say("going_away", { reconnectAfter: 77 }).end(1001, "come back in 77 ms");
	const waiting = await until(() => one.states.find(each => each.state === "waiting"));
	assert.equal(waiting.delay, 77);
	assert.equal(waiting.code, 1001);
	await until(() => one.state === "open");
});

test("feeds go on from where they stopped, without what was there already, and a gap is told", async () => {
	const server = await serve(), one = client(server), gaps = collect(one, "gap"), seen = [], exact = [];
	one.subscribe("p/*", (value, update) => seen.push(`${update.topic} ${value}`));
	one.subscribe("q", value => exact.push(value), { last: true });
	await until(() => server.heard.filter(message => message.type === "subscribe").length === 2);
	assert.deepEqual(server.heard.filter(message => message.type === "subscribe").map(({ topics, since, last }) => ({ topics, since, last })),
		[{ topics: ["p/*"], since: {}, last: false }, { topics: ["q"], since: {}, last: true }]);
	const update = (topic, seq, epoch = 5) => ({ type: "update", topic, seq, epoch, data: seq });
	server.peer.say(update("p/a", 3)).say(update("p/a", 4)).say(update("p/b", 1)).say(update("q", 9)).say(update("p/a", 4));
	await until(() => exact.length === 1 && seen.length === 3);
	server.peer.drop();
	const peer = await server.next();
	const asked = await until(() => {
		const list = peer.heard.filter(message => message.type === "subscribe");
		return list.length === 2 && list;
	});
	assert.deepEqual(asked[0].topics, ["p/a", "p/b", "p/*"]);
	assert.deepEqual([asked[0].since, asked[0].epoch], [{ "p/a": 4, "p/b": 1 }, { "p/a": 5, "p/b": 5 }]);
	assert.deepEqual([asked[1].topics, asked[1].since], [["q"], { q: 9 }]);
	peer.say(update("p/a", 4)).say(update("p/a", 5)); // one too many
	peer.say("gap", { topic: "p/b", from: 2, to: 6, epoch: 5 }).say(update("p/b", 7)); // told by the server
	peer.say(update("q", 12)); // told by nobody
	peer.say(update("p/a", 1, 6)); // a new life of the topic
	await until(() => seen.includes("p/a 1"));
	assert.deepEqual(seen, ["p/a 3", "p/a 4", "p/b 1", "p/a 5", "p/b 7", "p/a 1"]);
	assert.deepEqual(exact, [9, 12]);
	assert.deepEqual(gaps.map(({ topic, from, to }) => [topic, from, to]), [["p/b", 2, 6], ["q", 10, 11]]);
	one.unsubscribe("p/*");
	const gone = await until(() => peer.heard.find(message => message.type === "unsubscribe"));
	assert.deepEqual(gone.topics, ["p/*", "p/a", "p/b"]);
});

test("what the server takes back is not asked for again, and the rest is", async () => {
	const server = await serve(), one = client(server);
	server.answer = (message, peer) => message.type === "subscribe" &&
		peer.say("subscribed", { id: message.id, topics: message.topics.map(topic => ({ topic, seq: 0, epoch: 5 })) });
	await until(() => one.state === "open");
	one.subscribe(["mine", "theirs/*"]);
	const asked = () => server.heard.filter(message => message.type === "subscribe").map(({ topics }) => topics);
	await until(() => asked().length === 1);
	server.peer.say("unsubscribed", { code: "PERMISSION_DENIED", topics: ["theirs/*"] });
	server.peer.say("update", { topic: "mine", seq: 1, epoch: 5, data: 1 });
	await pause(20);
	server.peer.drop();
	await until(() => asked().length === 2);
	assert.deepEqual(asked(), [["mine", "theirs/*"], ["mine"]]);
});

test("a quiet feed is resumed from where it stood when it was subscribed to", async () => {
	const server = await serve();
	server.answer = (message, peer) => message.type === "subscribe" &&
		peer.say("subscribed", { id: message.id, topics: message.topics.map(topic => ({ topic, seq: 40, epoch: 5 })) });
	const one = client(server), heard = [];
	one.subscribe("q", value => heard.push(value));
	await until(() => server.heard.length === 1);
	// A message on its way while the answer was written has a number that the answer has too.
	server.peer.say("update", { topic: "q", seq: 40, epoch: 5, data: "race" });
	await until(() => heard.length === 1);
	server.peer.drop();
	const peer = await server.next();
	await until(() => peer.heard.length);
	assert.deepEqual(peer.heard[0].since, { q: 40 });
});

test("rooms are entered again; what was said meanwhile comes first, own words and repetitions do not come", async () => {
	const server = await serve(), one = client(server), heard = collect(one, "room_message"), gaps = collect(one, "gap");
	await one.join("r");
	server.peer.say(said(2, "two"));
	await until(() => heard.length === 1);
	await one.say("r", "mine");
	const own = data(server)[0].id;
	// Two pages of history; a live message comes before the first.
	const answer = server.answer, pages = [
		{ seq: 4, epoch: 10, messages: [said(3, "mine", { from: "me", ref: own }), said(4, "four", { ref: "x" })] },
		{ seq: 6, epoch: 10, messages: [said(5, "four", { ref: "x" }), said(6, "six")] },
		{ seq: 6, epoch: 10, messages: [] },
	];
	server.answer = (message, peer) => {
		if (message.type !== "history") return answer(message, peer);
		if (pages.length === 3) peer.say(said(6, "six")).say(said(7, "seven"));
		peer.say("history", { id: message.id, room: "r", ...pages.shift() });
	};
	server.peer.drop();
	await until(() => heard.some(message => message.content === "seven"));
	assert.deepEqual(contents(heard), ["two", "four", "six", "seven"]);
	const asked = server.peer.heard.filter(message => message.type === "history").map(message => message.since);
	assert.deepEqual(asked, ["a-2", "a-4", "a-6"]);
	assert.deepEqual(gaps, []);
});

test("in a room that began anew everything is new, and that something may be missing is told", async () => {
	const server = await serve(), one = client(server), heard = collect(one, "room_message"), gaps = collect(one, "gap");
	await one.join("r");
	server.peer.say(said(9, "nine", { ref: "x" }));
	await until(() => heard.length === 1);
	const answer = server.answer;
	server.answer = (message, peer) => message.type !== "history" ? answer(message, peer)
		: peer.say("history", { id: message.id, room: "r", seq: 2, epoch: 11, messages: message.since === "b-2" ? []
			: [said(1, "nine", { id: "b-1", ref: "x" }), said(2, "ten", { id: "b-2" })] });
	server.peer.drop();
	await until(() => heard.length === 2);
	assert.deepEqual(contents(heard), ["nine", "ten"]);
	assert.deepEqual(gaps.map(({ room, reset }) => [room, reset]), [["r", true]]);
});

test("what goes to a room waits until we are in it; a room that is refused refuses it", async () => {
	const server = await serve(), answer = server.answer, one = client(server);
	await assert.rejects(one.say("r", "x"), { code: "NOT_A_MEMBER" });
	let joining;
	server.answer = (message, peer) => (message.type === "join_room" ? void (joining = message) : answer(message, peer));
	const joined = one.join("r"), sent = one.say("r", "early");
	await until(() => joining);
	await one.direct("you", "not held up");
	assert.deepEqual(data(server).map(message => message.data.content), ["not held up"]);
	answer(joining, server.peer);
	await Promise.all([joined, sent]);
	server.answer = (message, peer) => peer.say("error", { id: message.id, code: "PERMISSION_DENIED", message: "no" });
	const refused = one.join("s"), never = one.say("s", "x");
	await assert.rejects(refused, { code: "PERMISSION_DENIED", message: "no" });
	await assert.rejects(never, { code: "PERMISSION_DENIED" });
	await assert.rejects(one.direct("you", 1), { code: "PERMISSION_DENIED" });
	assert.equal(one.queued, 0);
});

test("who leaves a room gives up what was to be said there, and may join again", async () => {
	const server = await serve(), answer = server.answer, one = client(server);
	await until(() => one.state === "open");
	server.answer = (message, peer) => message.type !== "join_room" && answer(message, peer);
	const joining = one.join("r"), early = one.say("r", "x");
	one.leave("r");
	await assert.rejects(joining, { code: "LEFT" });
	await assert.rejects(early, { code: "LEFT" });
	assert.equal(one.queued, 0);
	await until(() => server.heard.some(message => message.type === "leave_room" && message.room === "r"));
	server.answer = answer;
	await one.join("r");
	await one.say("r", "late");
	assert.deepEqual(data(server).map(message => message.data.content), ["late"]);
});

test("requests have answers, errors, a time limit, and an end with the connection", async () => {
	const server = await serve(), one = client(server, { requestTimeout: 50 });
	await assert.rejects(one.members("r"), { code: "OFFLINE" });
	await until(() => one.state === "open");
	server.answer = (message, peer) => message.type === "members" && peer.say("members", { id: message.id, members: ["me"], count: 1 });
	assert.equal((await one.members("r")).count, 1);
	await assert.rejects(one.history({ room: "r" }), { code: "TIMEOUT" });
	server.answer = (message, peer) => peer.drop();
	await assert.rejects(one.members("r"), { code: "OFFLINE" });
});

test("too much is not lost but later, and an overloaded server is asked anew", async () => {
	const server = await serve(), answer = server.answer, one = client(server, { ackTimeout: 600_000 });
	let refusals = 0;
	server.answer = (message, peer) => {
		if (message.type !== "DATA" || ++refusals > 2) return answer(message, peer);
		if (refusals === 1) return peer.say("error", { code: "RATE_LIMIT_EXCEEDED", message: "slow" });
		peer.say("error", { id: message.id, code: "TRY_LATER", message: "later" });
		answer(message, peer);
	};
	await one.direct("you", 1);
	const ids = data(server).map(message => message.id);
	assert.equal(ids.length, 3);
	assert.equal(ids[0], ids[1]);
	assert.notEqual(ids[1], ids[2]);
});

test("a token goes along as a subprotocol, in band where that said nothing, and anew when it expires", async () => {
	const server = await serve(), answer = server.answer;
	let count = 0;
	const token = async () => `t.${++count}.x`;
	server.welcome = () => ({});
	server.answer = (message, peer) => message.type === "auth" ? peer.say("auth_success", { id: message.id, userId: "me" })
		: answer(message, peer);
	const one = client(server, { token });
	await one.join("r");
	assert.match(server.peer.offered, /^ringcast\.json, ?t\.1\.x$/);
	assert.deepEqual(server.heard.slice(0, 2).map(({ type, token }) => [type, token]), [["auth", "t.2.x"], ["join_room", undefined]]);
	// Expired: what is sent in between waits for the new one.
	let expired = true;
	server.answer = (message, peer) => {
		if (message.type === "auth") expired = message.token !== "t.3.x" || !peer.say("auth_success", { id: message.id, userId: "me" });
		else if (expired) peer.say("error", { id: message.id, code: "AUTH_REQUIRED", message: "who?" }).say("auth_expired", { timeout: 100 });
		else answer(message, peer);
	};
	await one.say("r", "hello");
	assert.equal(server.peers.length, 1);
	assert.equal(server.heard.filter(message => message.type === "join_room").length, 1);
});

test("close ends it; connect begins again with what waited", async () => {
	const server = await serve(), one = client(server);
	await until(() => one.state === "open");
	one.close();
	assert.equal(one.state, "closed");
	const sent = one.direct("you", 1);
	await pause(60);
	assert.equal(server.peers.length, 1);
	one.connect();
	await sent;
});

// ---- without a WebSocket ----

/** Events as a server writes them, in pieces as a network delivers them. */
function events(answer) {
	answer.writeHead(200, { "Content-Type": "text/event-stream" });
	answer.flushHeaders();
	return async (bytes, size = bytes.length) => {
		for (let at = 0; at < bytes.length; at += size) {
			answer.write(bytes.subarray(at, at + size));
			if (size < bytes.length) await new Promise(setImmediate);
		}
	};
}

const event = (seq, value, end = "\n") => Buffer.from([`id: L${seq}`, `data: ${JSON.stringify({ type: "update", topic: "t", seq, epoch: 3, data: value })}`, "", ""].join(end));

test("where no WebSocket gets through, feeds come as events, resume, and go back to a WebSocket", async () => {
	const server = await serve(), heard = [];
	let write;
	server.refuse = true;
	server.http = (_, answer) => void (write = events(answer));
	const one = client(server, { token: "a.b.c", upgradeAfter: 400 });
	one.subscribe(["t", "u/ü,x"], value => heard.push(value));
	await until(() => one.transport === "sse" && write);
	const [first] = server.requests;
	assert.equal(first.url, "/sse/t,u%2F%C3%BC%2Cx");
	assert.equal(first.headers.authorization, "Bearer a.b.c");
	await write(Buffer.concat([Buffer.from(": hello\n\n"), event(1, "ä€", "\r"), event(2, "crlf", "\r\n")]), 1);
	await write(Buffer.from('id: L3\r\ndata: {"type":"update","topic":"t",\r\ndata: "seq":3,"epoch":3,"data":"two lines"}\r\n\r\n'), 1);
	await until(() => heard.length === 3);
	write = null;
	server.requests[0].socket.destroy();
	await until(() => write);
	assert.equal(server.requests[1].headers["last-event-id"], "L3");
	assert.equal(server.requests[1].url, "/sse/t,u%2F%C3%BC%2Cx?since=3%2C&epoch=3%2C");
	await write(Buffer.concat([event(3, "again"), event(4, "four")]));
	await until(() => heard.length === 4);
	assert.deepEqual(heard, ["ä€", "crlf", "two lines", "four"]);
	// What cannot be sent this way waits.
	const sent = one.direct("you", 1);
	assert.equal(one.queued, 1);
	server.refuse = false;
	await sent;
	assert.equal(one.transport, "websocket");
	assert.deepEqual(server.heard.find(message => message.type === "subscribe").since, { t: 4 });
});

test("where events do not get through either, it is polled", async () => {
	const server = await serve(), heard = [], waiting = [];
	server.refuse = true;
	server.http = (request, answer) => request.url.startsWith("/poll/") ? waiting.push({ url: request.url, answer }) : answer.writeHead(404).end();
	const one = client(server, { upgradeAfter: 60_000 });
	one.subscribe("t", value => heard.push(value));
	const reply = async (body, status = 200) => {
		const { url, answer } = await until(() => waiting.shift());
		answer.writeHead(status, { "Content-Type": "application/json" }).end(status === 204 ? "" : JSON.stringify(body));
		return url;
	};
	const update = seq => ({ type: "update", topic: "t", seq, epoch: 3, data: seq });
	assert.equal(await reply({ messages: [update(7)], topics: [{ topic: "t", seq: 6, epoch: 3 }] }), "/poll/t?wait=0");
	assert.equal(await reply({ messages: [update(7), update(8), update(9)] }), "/poll/t?since=7&epoch=3");
	assert.equal(await reply(null, 204), "/poll/t?since=9&epoch=3");
	assert.equal(one.transport, "poll");
	assert.equal(await reply({ messages: [{ type: "gap", topic: "t", from: 10, to: 19, epoch: 3 }, update(20)] }), "/poll/t?since=9&epoch=3");
	assert.equal(await reply(null, 500), "/poll/t?since=20&epoch=3");
	assert.deepEqual(heard, [7, 8, 9, 20]);
	await until(() => one.states.some(each => each.state === "waiting" && each.tries));
});

test("another topic is another stream", async () => {
	const server = await serve();
	server.refuse = true;
	server.http = (_, answer) => void events(answer);
	const one = client(server, { upgradeAfter: 60_000 });
	one.subscribe("t");
	await until(() => one.transport === "sse");
	one.subscribe("u");
	await until(() => server.requests.some(request => request.url === "/sse/t,u") && one.state === "open");
	one.unsubscribe("t");
	await until(() => server.requests.some(request => request.url === "/sse/u") && one.state === "open");
});

// ---- everything at once ----

/** A room, a feed and a store as the real server has them, over connections that break and ACKs that get lost. */
test("with faults at random: nothing lost, nothing twice, all in order", async t => {
	const seed = Number(process.env.RC_SEED ?? Math.floor(Math.random() * 2 ** 31));
	t.diagnostic(`seed ${seed} (RC_SEED)`);
	let random = seed;
	const chance = share => ((random = (Math.imul(random, 1103515245) + 12345) >>> 0) >>> 8) / 2 ** 24 < share;
	const server = await serve(), received = new Map(), log = [], feed = [], joined = new Set();
	server.answer = (message, peer) => {
		if (chance(0.03)) return peer.drop(); // before it was handled
		const { id } = message;
		if (message.type === "DATA") {
			if (!received.has(id)) received.set(id, message.data.content);
			if (chance(0.05)) return peer.drop(); // after it was
			if (chance(0.9)) peer.say("ACK", { data: { messageId: id } });
		} else if (message.type === "join_room") {
			joined.add(peer);
			peer.say("room_joined", { id, room: "r" });
		} else if (message.type === "history") {
			const since = message.since ? Number(message.since.split("-")[1]) : log.length;
			const messages = log.slice(since, since + 3);
			peer.say("history", { id, room: "r", seq: since + messages.length, epoch: 10, messages });
		} else if (message.type === "subscribe") {
			peer.say("subscribed", { id, topics: [] });
			peer.subscribed = true;
			for (const update of feed.slice(message.since.f ?? 0)) peer.say(update);
		}
	};
	const one = client(server, { ackTimeout: 60, requestTimeout: 300, resendMax: 50, maxTries: 1e6, minDelay: 1, maxDelay: 8 });
	const room = collect(one, "room_message"), updates = [], gaps = collect(one, "gap"), results = [];
	one.subscribe("f", value => updates.push(value));
	await one.join("r");
	for (let i = 0; i < 300; i++) {
		results.push(one.direct("you", i));
		log.push(said(log.length + 1, i));
		feed.push({ type: "update", topic: "f", seq: feed.length + 1, epoch: 1, data: i });
		const peer = server.peer;
		if (!peer.socket.destroyed) {
			if (joined.has(peer)) peer.say(log.at(-1));
			if (peer.subscribed) peer.say(feed.at(-1));
			if (chance(0.03)) peer.drop();
		}
		if (i % 5 === 0) await pause(2);
	}
	await Promise.all(results);
	await until(() => room.length >= 300 && updates.length >= 300, `all: ${room.length} in the room, ${updates.length} of the feed`, 15_000);
	const all = [...Array(300).keys()];
	assert.deepEqual([...received.values()].sort((a, b) => a - b), all);
	assert.deepEqual(contents(room), all);
	assert.deepEqual(updates, all);
	assert.deepEqual(gaps, []);
	t.diagnostic(`${server.peers.length} connections`);
});

after(() => setTimeout(() => process.exit(), 500).unref());
