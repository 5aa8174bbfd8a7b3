// SPDX-License-Identifier: MIT
/** pool.mjs CLIENT PROGRAM: Ringcast.Pool against a server that does as it is told, and against ours. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { App } from "./app.mjs";
import { Fake, pause, until } from "./fake.mjs";

const [path, program] = process.argv.slice(2);
const { Pool, Ringcast } = await import(path);
const QUICK = { minDelay: 10, maxDelay: 40, maxTries: 3 };
const alive = new Set();

async function serve() {
	const server = await new Fake().start();
	alive.add({ close: () => server.stop() });
	return server;
}

function pool(server, more = {}) {
	const made = new Ringcast.Pool({ url: server.url, options: QUICK, ...more });
	alive.add(made);
	return made;
}

test.afterEach(async () => {
	for (const each of [...alive].reverse()) await each.close();
	alive.clear();
});

test("it is the same by both names, and wants sensible bounds", () => {
	assert.equal(Pool, Ringcast.Pool);
	for (const bounds of [{ max: 0 }, { max: 1, min: 2 }, { max: NaN }])
		assert.throws(() => new Pool({ url: "ws://127.0.0.1:1", ...bounds }), RangeError);
});

test("min are open before anybody asks, more are made up to max, and then who asks waits in line", async () => {
	const server = await serve(), p = pool(server, { max: 3, min: 1 });
	await until(() => p.health().idle === 1);
	assert.deepEqual(p.health(),
		{ total: 1, open: 1, idle: 1, busy: 0, waiting: 0, replaced: 0, max: 3, min: 1, healthy: true });
	const three = await Promise.all([p.acquire(), p.acquire(), p.acquire()]);
	assert.equal(new Set(three).size, 3);
	for (const one of three) assert(one instanceof Ringcast && one.state === "open");
	const order = [], later = [1, 2].map(n => p.acquire().then(one => (order.push(n), one)));
	await pause(20);
	assert.deepEqual([p.health().busy, p.health().waiting, p.health().total, server.peers.length], [3, 2, 3, 3]);
	assert.equal(p.release(three[1]), true);
	assert.equal(await later[0], three[1]);
	assert.deepEqual(order, [1]);
	p.release(three[0]);
	assert.equal(await later[1], three[0]);
	assert.equal(p.health().waiting, 0);
});

test("acquire() ends with its time, and its place in line with it", async () => {
	const server = await serve(), p = pool(server, { max: 1, acquireTimeout: 30 });
	const one = await p.acquire(5_000);
	await assert.rejects(p.acquire(), { code: "TIMEOUT" });
	await assert.rejects(p.acquire(10), { code: "TIMEOUT" });
	assert.equal(p.health().waiting, 0);
	p.release(one);
	assert.equal(await p.acquire(), one);
});

test("what was not lent cannot be given back, and nothing twice", async () => {
	const server = await serve(), p = pool(server, { max: 1 }), stranger = new Ringcast(server.url);
	alive.add(stranger);
	const one = await p.acquire();
	assert.equal(p.release(stranger), false);
	assert.equal(p.release(one), true);
	assert.equal(p.release(one), false);
	const again = await p.acquire();
	await assert.rejects(p.acquire(20), { code: "TIMEOUT" });
	assert.equal(again, one);
});

test("the next borrower gets nothing of the one before", async () => {
	const server = await serve(), p = pool(server, { max: 1 }), told = [];
	const one = await p.acquire();
	one.on("note", () => told.push("note"));
	await one.join("r");
	p.release(one);
	await p.acquire();
	server.peer.say("note", {});
	await until(() => server.heard.some(message => message.type === "leave_room"));
	await pause(10);
	assert.deepEqual(told, []);
});

test("idle ones are closed, but for min", async () => {
	const server = await serve(), p = pool(server, { max: 4, min: 2, idleTimeout: 30 });
	const four = await Promise.all([1, 2, 3, 4].map(() => p.acquire()));
	await pause(60);
	assert.equal(p.health().total, 4); // those that are lent are not idle
	for (const one of four) p.release(one);
	await until(() => p.health().total === 2);
	await pause(60);
	assert.deepEqual([p.health().total, p.health().open], [2, 2]);
	assert.equal(four.filter(one => one.state === "closed").length, 2);
});

test("those that break are replaced, whether lent or not, and a borrower's own stays his", async () => {
	const server = await serve(), p = pool(server, { max: 2, min: 1, options: { ...QUICK, maxTries: 0 } });
	const one = await p.acquire();
	server.peer.drop();
	await until(() => one.state === "failed");
	const two = await p.acquire();
	assert.notEqual(one, two);
	p.release(one);
	assert.equal(p.health().replaced, 1);
	p.release(two);
	server.peer.drop();
	await until(() => p.health().replaced === 2);
	await until(() => p.health().idle === 1);
	assert.equal(p.health().healthy, true);
});

test("one that only comes back is lent when it is back", async () => {
	const server = await serve(), p = pool(server, { max: 1, options: { ...QUICK, maxTries: 1_000 } });
	const one = await p.acquire();
	p.release(one);
	server.peer.drop();
	await until(() => one.state !== "open");
	assert.equal(await p.acquire(), one);
	assert.equal(p.health().replaced, 0);
});

test("a server that refuses is not asked in a loop, and who waits is told why", async () => {
	const server = await serve();
	server.welcome = peer => void peer.end(1008, "not you");
	const p = pool(server, { max: 2, min: 2, acquireTimeout: 300, options: { ...QUICK, maxTries: 0 } });
	await assert.rejects(p.acquire(), { code: "TIMEOUT", message: /not you/ });
	assert(server.peers.length <= 6, `${server.peers.length} handshakes`);
	assert.equal(p.health().healthy, false);
});

test("a closed pool has no connections, and lends none", async () => {
	const server = await serve(), p = pool(server, { max: 1, min: 1 }), one = await p.acquire();
	const waiting = assert.rejects(p.acquire(), { code: "CLOSED" });
	p.close();
	await waiting;
	assert.equal(one.state, "closed");
	assert.deepEqual([p.health().total, p.health().healthy], [0, false]);
	await assert.rejects(p.acquire(), { code: "CLOSED" });
	assert.equal(p.release(one), false);
});

test("fifty borrowers of four connections to the real server, which is killed between", async () => {
	const app = await new App(program, ["--connections-per-user", "4"]).start();
	const p = new Pool({ url: `ws://${app.url}/ws/worker`, max: 4, min: 2, options: { minDelay: 20, maxDelay: 100, maxTries: 1_000 } });
	try {
		const work = async n => {
			const one = await p.acquire(15_000);
			try {
				return await one.send({ type: "direct", to: "worker", content: n });
			} finally {
				p.release(one);
			}
		};
		const first = await Promise.all([...Array(25).keys()].map(work));
		await app.stop();
		const rest = Promise.all([...Array(25).keys()].map(work));
		await app.start();
		assert.equal(first.length + (await rest).length, 50);
		assert(p.health().total <= 4 && p.health().busy === 0, JSON.stringify(p.health()));
	} finally {
		p.close();
		await app.stop();
	}
});
