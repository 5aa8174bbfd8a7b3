// SPDX-License-Identifier: MIT
//
// Bun's own server with its built-in topics, which publishes by itself. What its paths and messages are, and what leaves
// when, stands at the head of ../topics.c, which does the same.
const TICK_MS = 1;
const SETTLE_MS = 200;
const BEHIND_MS = 100;
const HOT = 0xffffffff;
const names = [], places = [];
let message = Buffer.alloc(0), random = 1, order = null, timer = null, running = false;
let hotPlace = 0, published = 0, hot = 0, skipped = 0;

const server = Bun.serve({
	port: Number(process.argv[2]),
	hostname: "127.0.0.1",
	fetch(request, server) {
		const { pathname, searchParams } = new URL(request.url);
		if (pathname === "/start") {
			if (running) return new Response("it publishes", { status: 409 });
			start(searchParams);
		} else if (pathname === "/stop") {
			running = false;
			clearTimeout(timer);
		} else if (pathname !== "/state") {
			if (server.upgrade(request, { data: pathname.slice(1).split(",") })) return;
			return new Response("no", { status: 404 });
		}
		return Response.json({ running, published, hot, skipped, refused: 0 });
	},
	websocket: {
		backpressureLimit: 64 << 20,
		idleTimeout: 0,
		perMessageDeflate: false,
		open(socket) {
			for (const topic of socket.data) socket.subscribe(topic);
		},
		message() {},
	},
});

function publishTo(topic) {
	message.writeUInt32LE(topic, 0);
	message.writeUInt32LE(places[topic]++, 4);
	server.publish(names[topic], message);
	published++;
}

function publishHot() {
	message.writeUInt32LE(HOT, 0);
	message.writeUInt32LE(hotPlace++, 4);
	server.publish("hot", message);
	hot++;
}

// The same numbers as in topics.c.
function draw() {
	random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
	return Math.floor((random * order.topics) / 4294967296);
}

// So many are due since the last look.
function takeDue(pace, now) {
	const due = Math.floor(((now - order.begin) * pace.rate) / 1000);
	const most = 1 + Math.floor((pace.rate * BEHIND_MS) / 1000);
	const count = due - pace.due;
	pace.due = due;
	if (count <= most) return count;
	skipped += count - most;
	return most;
}

function tick() {
	const now = performance.now();
	for (let count = takeDue(order.all, now); count > 0; count--) publishTo(draw());
	for (let count = takeDue(order.hot, now); count > 0; count--) publishHot();
	timer = setTimeout(tick, TICK_MS);
}

function start(wanted) {
	const rate = Number(wanted.get("rate")), hotRate = Number(wanted.get("hot")), topics = Number(wanted.get("topics"));
	message = Buffer.alloc(Number(wanted.get("size")), "x");
	for (let topic = names.length; topic < topics; topic++) {
		names.push(String(topic));
		places.push(0);
	}
	running = true;
	order = { topics, all: { rate, due: 0 }, hot: { rate: hotRate, due: 0 }, begin: performance.now() + SETTLE_MS };
	for (let topic = 0; topic < topics && rate > 0; topic++) publishTo(topic);
	if (hotRate > 0) publishHot();
	timer = setTimeout(tick, SETTLE_MS);
}
