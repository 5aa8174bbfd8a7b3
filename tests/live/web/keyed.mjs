// SPDX-License-Identifier: MIT
/** keyed.mjs CLIENT: keyed feeds of ringcast.js under Node: the Map by itself, in scripts and in runs of a server that
 *  conflates and loses, and then against a server that does as it is told (fake.mjs). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Fake, pause, until } from "./fake.mjs";

const { Keyed, Ringcast } = await import(process.argv[2]);
const alive = new Set();

test.afterEach(async () => {
	for (const each of alive) await each.close();
	alive.clear();
});

/** A Keyed whose events are written down as "change a=1", "resync", "gap". */
function follow(how) {
	const keyed = new Keyed("t", how), told = [];
	keyed.on("change", ({ key, value, removed }) => told.push(removed ? `-${key}` : `${key}=${value}`));
	for (const type of ["resync", "gap", "message"]) keyed.on(type, () => told.push(type));
	return { keyed, told };
}

const up = (seq, key, data, more = {}) => ({ epoch: 1, seq, prev: seq - 1, key, data, ...more });

test("a state is the Map's in one step, and each update after it at once", () => {
	const { keyed, told } = follow();
	assert(keyed.mark("state", 1, 5));
	assert(keyed.update(up(2, "a", 1)) && keyed.update(up(4, "b", 2)));
	assert.equal(keyed.map.size, 0);
	assert.equal(keyed.whole, false);
	keyed.update(up(5, "c", 3));
	assert.deepEqual([...keyed.map], [["a", 1], ["b", 2], ["c", 3]]);
	assert(keyed.whole);
	keyed.update(up(6, "a", 4));
	keyed.update(up(7, "b", null, { removed: true }));
	keyed.update(up(7, "b", 9));
	assert.deepEqual([...keyed.map], [["a", 4], ["c", 3]]);
	keyed.update(up(8, undefined, "hello"));
	assert.deepEqual(told, ["a=1", "b=2", "c=3", "a=4", "-b", "message"]);
	assert.deepEqual([keyed.gaps, keyed.resyncs, keyed.seq, keyed.epoch], [0, 0, 8, 1]);
	assert.deepEqual(keyed.position, { since: 8, epoch: 1 });
});

test("the newest of each key comes in one step too, and begins nothing anew", () => {
	const { keyed, told } = follow(), map = keyed.map;
	keyed.mark("state", 1, 0);
	assert(keyed.whole, "an empty state is whole");
	keyed.update(up(1, "a", 1));
	keyed.update(up(2, "b", 1));
	keyed.mark("conflated", 1, 9);
	keyed.update(up(5, "a", 2));
	assert.deepEqual([map.get("a"), keyed.whole], [1, false]);
	keyed.update(up(9, "b", null, { removed: true }));
	assert.deepEqual([[...map], keyed.whole], [[["a", 2]], true]);
	assert(keyed.update(up(10, "c", 1)));
	assert.deepEqual(told, ["a=1", "b=1", "a=2", "-b", "c=1"]);
	assert.equal(keyed.map, map);
});

test("beginning anew takes away what is no more, and is told once the Map is right", () => {
	const { keyed, told } = follow();
	keyed.mark("state", 1, 2);
	keyed.update(up(1, "a", 1));
	keyed.update(up(2, "b", 1));
	let size = -1;
	keyed.on("resync", () => (size = keyed.map.size));
	keyed.mark("resync", 7, 4);
	keyed.update(up(3, "b", 2, { epoch: 7 }));
	assert.equal(keyed.map.get("b"), 1);
	keyed.update(up(4, "c", 1, { epoch: 7 }));
	assert.deepEqual(told, ["a=1", "b=1", "resync", "b=2", "c=1", "-a"]);
	assert.deepEqual([size, keyed.resyncs, keyed.gaps], [2, 1, 0]);
});

test("what is lost is told, counted, and does not get into the Map; the next state makes it right", () => {
	const { keyed, told } = follow();
	keyed.mark("state", 1, 1);
	keyed.update(up(1, "a", 1));
	assert.equal(keyed.update(up(4, "a", 4)), false);
	assert.equal(keyed.update(up(5, "b", 5)), true);
	assert.deepEqual([keyed.gaps, keyed.missing, keyed.whole, [...keyed.map], keyed.position], [1, 2, false, [["a", 1]], null]);
	keyed.mark("state", 1, 5);
	keyed.update(up(4, "a", 4));
	keyed.update(up(5, "b", 5));
	assert.deepEqual([keyed.whole, [...keyed.map]], [true, [["a", 4], ["b", 5]]]);
	assert.equal(keyed.mark("heartbeat", 1, 5), true);
	assert.equal(keyed.mark("heartbeat", 1, 6), false, "the tail is missing");
	assert.equal(keyed.gaps, 2);
	assert.deepEqual(told.filter(each => each === "gap").length, 2);
	const other = follow().keyed;
	other.mark("state", 1, 0);
	assert.equal(other.update(up(1, "a", 1, { epoch: 2 })), false, "an epoch that nobody told");
	assert.equal(other.mark("reset", 3, 9), false, "a reset has no state: it must be asked for");
});

test("where updates are left out without a word, holes are no loss", () => {
	const { keyed } = follow({ holes: true });
	keyed.mark("state", 1, 1);
	keyed.update(up(1, "a", 1));
	assert(keyed.update(up(9, "a", 9)) && keyed.whole);
	assert(keyed.update({ ...up(12, "b", 1), prev: 3 }) && keyed.whole);
	assert.deepEqual([[...keyed.map], keyed.gaps], [[["a", 9], ["b", 1]], 0]);
});

test("a base takes the place of all keys", () => {
	const { keyed } = follow();
	keyed.mark("state", 1, 1);
	keyed.update(up(1, "a", 1));
	keyed.update(up(2, undefined, { b: 2, c: 3 }, { snapshot: true }));
	assert.deepEqual([...keyed.map], [["b", 2], ["c", 3]]);
	const listed = follow({ base: data => data.map(each => [each.id, each]) }).keyed;
	listed.mark("state", 1, 3);
	listed.update(up(2, undefined, [{ id: "x" }], { snapshot: true }));
	listed.update(up(3, "y", 1));
	assert.deepEqual([...listed.map.keys()], ["x", "y"]);
});

test("a state that ends with removals ends with a heartbeat, with the next update, or with time", () => {
	for (const end of ["heartbeat", "update", "time"]) {
		const { keyed } = follow();
		keyed.mark("state", 1, 9);
		keyed.update(up(2, "a", 1));
		keyed.tick(Date.now());
		assert.equal(keyed.map.size, 0);
		if (end === "heartbeat") keyed.mark("heartbeat", 1, 9);
		else if (end === "update") keyed.update(up(10, "b", 1));
		else keyed.tick(Date.now() + 2000);
		assert.equal(keyed.map.get("a"), 1, end);
		assert.equal(keyed.whole, end !== "time", end);
	}
});

test("runs: whenever it is whole the Map is the topic's state, and nothing that is lost goes unheard", () => {
	let seed = Number(process.env.RC_SEED ?? Date.now() % 2 ** 31);
	console.log(`# RC_SEED=${seed}`);
	const below = bound => {
		seed = (seed * 1103515245 + 12345) % 2 ** 31;
		return Math.floor(seed / 2 ** 31 * bound);
	};
	for (let run = 0; run < 60; run++) {
		const { keyed } = follow(), log = [], states = [new Map()];
		let sent = 0, lost = 0, pending = false;
		const give = seq => {
			const good = keyed.update({ ...log[seq - 1], prev: seq - 1 });
			assert.equal(good, !pending);
			pending = false;
		};
		const newest = from => {
			for (let seq = from; seq <= log.length; seq++)
				if (!log.slice(seq).some(each => each.key === log[seq - 1].key)) give(seq);
			sent = log.length;
		};
		const renew = () => {
			pending = false;
			keyed.mark("resync", 1, log.length);
			newest(1);
		};
		const beat = () => {
			assert.equal(keyed.mark("heartbeat", 1, sent), !pending);
			pending = false;
		};
		renew();
		while (log.length < 150) {
			for (let n = below(6); n > 0; n--) {
				const key = `k${below(5)}`, removed = below(5) === 0, seq = log.length + 1, state = new Map(states[seq - 1]);
				log.push({ epoch: 1, seq, key, removed, data: removed ? undefined : seq });
				if (removed) state.delete(key);
				else state.set(key, seq);
				states.push(state);
			}
			const chosen = below(10);
			if (chosen === 0) renew();
			else if (chosen === 1) {
				beat();
				keyed.mark("conflated", 1, log.length);
				newest(sent + 1);
			} else if (chosen === 2) beat();
			else
				while (sent < log.length) {
					if (run % 2 && below(15) === 0) {
						sent++;
						lost++;
						pending = true;
					} else give(++sent);
				}
			if (keyed.whole) assert.deepEqual(new Map([...keyed.map].sort()), new Map([...states[keyed.seq]].sort()));
			if (!lost) assert(keyed.whole && keyed.gaps === 0);
		}
		assert(keyed.missing <= lost);
	}
});

// ---- with a server ----

async function serve() {
	const server = await new Fake().start();
	alive.add({ close: () => server.stop() });
	const answer = server.answer;
	server.states = true;
	server.answer = (message, peer) => {
		if (message.type !== "subscribe") return answer(message, peer);
		const { id, topics, since } = message, state = message.state && !since && server.states ? { state: true } : {};
		peer.say("subscribed", { id, topics: topics.map(topic => ({ topic, seq: server.seq ?? 2, epoch: 1, ...state })) });
	};
	return server;
}

function client(server) {
	const made = new Ringcast(server.url, { minDelay: 10, maxDelay: 40 });
	alive.add(made);
	return made;
}

const asked = server => server.heard.filter(each => each.type === "subscribe");
const say = (peer, seq, key, data, more = {}) => peer.say("update", { topic: "t", seq, epoch: 1, prev: seq - 1, key, data, ...more });

test("it asks for the state once, and on the next connection for what came since", async () => {
	const server = await serve(), one = client(server), keyed = one.keyed("t", { rate: 10 }), heard = [];
	one.on("update", message => heard.push(message));
	assert.equal(one.keyed("t"), keyed);
	await until(() => asked(server).length === 1);
	const { topics, state, rate, since } = asked(server)[0];
	assert.deepEqual({ topics, state, rate, since }, { topics: ["t"], state: true, rate: 10, since: undefined });
	say(say(server.peer, 1, "a", { x: 1 }), 2, "b", 2);
	await until(() => keyed.whole);
	assert.deepEqual([...keyed.map], [["a", { x: 1 }], ["b", 2]]);
	server.peer.drop();
	const peer = await server.next();
	await until(() => asked(server).length === 2);
	assert.deepEqual([asked(server)[1].since, asked(server)[1].epoch], [{ t: 2 }, { t: 1 }]);
	say(peer, 3, "a", 3);
	await until(() => keyed.map.get("a") === 3);
	assert.deepEqual([keyed.gaps, keyed.resyncs, heard], [0, 0, []]);
});

test("when something is lost it asks for the state anew, and counts it", async () => {
	const server = await serve(), one = client(server), keyed = one.keyed("t"), told = [];
	for (const type of ["gap", "resync"]) keyed.on(type, () => told.push(type));
	await until(() => asked(server).length === 1);
	say(say(server.peer, 1, "a", 1), 2, "b", 2);
	await until(() => keyed.whole);
	server.seq = 5;
	say(server.peer, 4, "a", 4);
	await until(() => asked(server).length === 2);
	assert.deepEqual(server.heard.filter(each => each.type === "unsubscribe").map(each => each.topics), [["t"]]);
	say(say(server.peer, 4, "a", 4), 5, "c", 5);
	await until(() => keyed.whole);
	assert.deepEqual([...keyed.map], [["a", 4], ["c", 5]]);
	assert.deepEqual([told, keyed.gaps, keyed.resyncs], [["gap", "resync"], 1, 1]);
});

test("marks of the dialect; a refused one is not asked for again; others' feeds are left alone", async () => {
	const server = await serve(), one = client(server), keyed = one.keyed("t"), values = [];
	one.subscribe("u", value => values.push(value));
	await until(() => asked(server).length === 2);
	say(say(server.peer, 1, "a", 1), 2, "b", 2);
	server.peer.say("conflated", { topic: "t", seq: 6, epoch: 1 });
	say(say(server.peer, 4, "a", 4), 6, "b", null, { removed: true });
	server.peer.say("resync", { topic: "t", seq: 8, epoch: 2 });
	say(server.peer, 8, "z", 1, { epoch: 2 });
	server.peer.say("heartbeat", { topic: "t", seq: 8, epoch: 2 });
	server.peer.say("update", { topic: "u", seq: 3, epoch: 1, data: 7 });
	await until(() => values.length === 1);
	assert.deepEqual([[...keyed.map], keyed.gaps, keyed.resyncs, keyed.whole], [[["z", 1]], 0, 1, true]);
	server.peer.say("unsubscribed", { code: "PERMISSION_DENIED", topics: ["t"] });
	await pause(30);
	server.peer.drop();
	await server.next();
	await until(() => asked(server).length === 3);
	assert.deepEqual(asked(server)[2].topics, ["u"]);
	one.unsubscribe("u");
});

test("unsubscribe() ends it", async () => {
	const server = await serve(), one = client(server);
	one.keyed("t");
	await until(() => asked(server).length === 1);
	one.unsubscribe("t");
	await until(() => server.heard.some(each => each.type === "unsubscribe"));
	server.peer.drop();
	await server.next();
	await pause(50);
	assert.equal(asked(server).length, 1);
});
