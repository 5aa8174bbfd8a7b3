// SPDX-License-Identifier: MIT
/**
 * dashboard.js - the page at /: figures over HTTP once a second, a feed and a chat over the dialect. It must not need more
 * than anybody can ask for who has the API key and a token. The page itself holds no secret.
 */
import { Chart } from "./charts.js";
import { rateOfAll, rateOfNode, showNodes } from "./nodes.js";
import { Ringcast } from "./ringcast.js";

const LOG_LINES = 200;
const ROWS = 8;

const one = (/** @type {string} */ selector) => /** @type {any} */ (document.querySelector(selector));
const session = (/** @type {string} */ name) => sessionStorage.getItem(`ringcast.${name}`) ?? "";

/** @param {number} value */
function short(value) {
	if (value >= 1e9) return `${(value / 1e9).toPrecision(3)} G`;
	if (value >= 1e6) return `${(value / 1e6).toPrecision(3)} M`;
	if (value >= 1e4) return `${(value / 1e3).toPrecision(3)} k`;
	return value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toPrecision(2);
}

/** @param {string} unit */
const inUnit = unit => (/** @type {number} */ value) => `${short(value)} ${unit}`;

/** @param {string} name @param {string} [text] @param {string} [kind] */
function make(name, text = "", kind = "") {
	const element = document.createElement(name);
	element.textContent = text;
	element.className = kind;
	return element;
}

// ---- light and dark --------------------------------------------------------------------------------------------------

const themes = ["auto", "light", "dark"];

/** @param {string} theme */
function setTheme(theme) {
	document.documentElement.dataset.theme = theme;
	one("#theme b").textContent = theme;
	localStorage.setItem("ringcast.theme", theme);
}

setTheme(themes.find(theme => theme === localStorage.getItem("ringcast.theme")) ?? "auto");
one("#theme").onclick = () =>
	setTheme(themes[(themes.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % themes.length]);

// ---- figures ---------------------------------------------------------------------------------------------------------

const chart = (/** @type {string} */ title, /** @type {string[]} */ series, /** @type {number} */ floor,
	/** @type {(value: number) => string} */ format) => new Chart(one("#charts"), { title, series, floor, format });
const charts = {
	connections: chart("Connections", [""], 5, short),
	rates: chart("Messages per second", ["in", "out"], 10, short),
	trip: chart("Round trip of this page", [""], 1, inUnit("ms")),
	handling: chart("Handling of a message", ["median", "99th percentile"], 20,
		value => (value < 1_000 ? `${short(value)} µs` : `${short(value / 1_000)} ms`)),
	lag: chart("Lag behind the log", [""], 1, inUnit("ms")),
	processor: chart("Processor", [""], 10, inUnit("%")),
};

/** @type {any} */ let before = null;
/** @type {number|null} */ let roundTrip = null;

class Refused extends Error {}

/** The server shows its figures only to who has a key, and ours, if we have one, is another. */
class KeyWanted extends Refused {
	constructor() {
		super(session("key") ? "This API key is wrong: the server does not know it." : "Figures need an API key: enter it above.");
	}
}

/** @param {string} path */
async function get(path) {
	/** @type {Record<string, string>} */
	const headers = session("key") ? { Authorization: `Bearer ${session("key")}` } : {};
	const answer = await fetch(path, { headers, cache: "no-store", signal: AbortSignal.timeout(5_000) });
	if (answer.status === 401 || answer.status === 403) throw new KeyWanted();
	if (answer.status === 404) throw new Refused("Figures are served on another port; feed and chat work here.");
	if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
	return path === "/metrics" ? answer.text() : answer.json();
}

/** The histogram of handling times, as the count below each bound. @param {string} metrics */
function readBuckets(metrics) {
	const found = metrics.matchAll(/^ringcast_app_handling_seconds_bucket\{le="([^"]+)"\} (\d+)$/gm);
	return [...found].map(([, bound, count]) => ({ bound: bound === "+Inf" ? Infinity : +bound, count: +count }));
}

/** @param {{bound: number, count: number}[]} now @param {{bound: number, count: number}[]} then @param {number} share
 *  @returns {number|null} microseconds, of the messages that were handled in between */
function percentile(now, then, share) {
	const since = now.map(({ bound, count }, index) => ({ bound, count: count - (then[index]?.count ?? 0) }));
	const all = since.at(-1)?.count ?? 0;
	const bucket = all > 0 ? since.find(({ count }) => count >= share * all) : undefined;
	return bucket && bucket.bound < Infinity ? bucket.bound * 1e6 : null;
}

/** @param {number} seconds */
function duration(seconds) {
	const parts = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
	return parts[0] ? `${parts[0]} d ${parts[1]} h` : parts[1] ? `${parts[1]} h ${parts[2]} min`
		: parts[2] ? `${parts[2]} min` : `${Math.floor(seconds)} s`;
}

/** @param {Record<string, [string, string?]>} tiles */
function showTiles(tiles) {
	one("#tiles").replaceChildren(...Object.entries(tiles).map(([name, [value, more]]) => {
		const tile = make("div"), figure = make("dd", value);
		if (more) figure.append(" ", make("small", more));
		tile.append(make("dt", name), figure);
		return tile;
	}));
}

/** @param {string} id @param {[string, number, ...string[]][]} rows name, length of its bar, cells
 *  @param {(name: string) => void} chosen */
function showTable(id, rows, chosen) {
	const most = Math.max(1e-9, ...rows.map(row => row[1])), body = one(`${id} tbody`);
	// Rows are reused as far as possible, because a row that the user is pressing must not be replaced.
	while (body.rows.length > rows.length) body.lastChild.remove();
	rows.forEach(([name, length, ...cells], index) => {
		let row = body.rows[index];
		if (!row) {
			row = body.insertRow();
			const button = make("button");
			/** @type {any} */ (button).type = "button";
			button.onclick = () => chosen(button.textContent ?? "");
			row.insertCell().append(button, make("div", "", "bar"));
			for (const _ of cells) row.insertCell().className = "number";
		}
		if (row.cells[0].firstChild.textContent !== name) row.cells[0].firstChild.textContent = name;
		row.cells[0].firstChild.title = name;
		row.cells[0].lastChild.style.width = `${(100 * length) / most}%`;
		cells.forEach((text, at) => void (row.cells[at + 1].textContent = text));
	});
	one(`${id}`).hidden = !rows.length;
	one(`${id} + .empty`).hidden = rows.length > 0;
}

/** @param {any} now */
function showTopics(now) {
	const seconds = before ? (now.at - before.at) / 1000 : 0;
	const old = new Map(before?.total.topics.map((/** @type {any} */ topic) => [topic.name, topic.sequence]));
	const rows = now.total.topics
		.filter((/** @type {any} */ topic) => !/^(room|data)\//.test(topic.name))
		.map((/** @type {any} */ topic) => {
			const rate = seconds && old.has(topic.name) ? Math.max(0, topic.sequence - old.get(topic.name)) / seconds : 0;
			return [topic.name, rate, short(rate), short(topic.subscribers)];
		})
		.sort((/** @type {any} */ a, /** @type {any} */ b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
	showTable("#topics", rows.slice(0, ROWS), follow);
}

/** @param {any[]} rooms */
function showRooms(rooms) {
	const rows = rooms.sort((a, b) => b.members - a.members || (a.room < b.room ? -1 : 1)).slice(0, ROWS);
	showTable("#rooms", rows.map(({ room, members }) => [room, members, short(members)]), room => enter(me.name, room));
}

/** @param {any} now */
function show(now) {
	const { app, total } = now, seconds = before ? (now.at - before.at) / 1000 : 0;
	const spans = app.nodes && before?.app.nodes;
	const rate = (/** @type {string} */ name, /** @type {any} */ node = undefined) => (!seconds ? null
		: node ? rateOfNode(before.app, node, name) : spans ? rateOfAll(app, before.app, name)
			: Math.max(0, app[name] - before.app[name]) / seconds);
	const processor = seconds ? Math.max(0, (total.cpu_seconds - before.total.cpu_seconds) / seconds) * 100 : null;
	const received = rate("messagesReceived"), sent = rate("messagesSent"), bytes = rate("bytesSent");
	charts.connections.push(now.at, [app.connectedClients]);
	charts.rates.push(now.at, [received, sent]);
	charts.trip.push(now.at, [roundTrip]);
	charts.handling.push(now.at, before ? [0.5, 0.99].map(share => percentile(now.buckets, before.buckets, share)) : [null, null]);
	charts.lag.push(now.at, [app.latency.lagMs]);
	charts.processor.push(now.at, [processor]);
	showTiles({
		"Clients": [short(app.connectedClients), `${short(app.users)} users`],
		"Rooms": [short(app.activeRooms)],
		"Topics": [short(app.topics), `${short(app.subscriptions)} subscr.`],
		"In": [received === null ? "–" : short(received), "msg/s"],
		"Out": [sent === null ? "–" : short(sent), "msg/s"],
		"Sent": [bytes === null ? "–" : short(bytes), "B/s"],
		"Errors": [short(app.errors), app.rejected ? `${short(app.rejected)} refused` : ""],
		"Came back": [short(app.reconnections), "users"],
	});
	one("#about").textContent = `version ${total.version} on ${total.ring} · up ${duration(app.uptime)}`;
	showTopics(now);
	showNodes(app, rate, short);
}

/** @param {string} words */
function notice(words) {
	one("#notice").textContent = words;
	one("#notice").hidden = !words;
}

/** @param {number} round */
async function figures(round) {
	try {
		const [app, total, metrics] = await Promise.all([get("/api/stats"), get("/stats"), get("/metrics")]);
		const now = { at: performance.now(), app, total, buckets: readBuckets(metrics) };
		// This is another server, and its counters began anew.
		if (before && app.uptime < before.app.uptime) before = null;
		show(now);
		before = now;
		if (round % 2 === 0) showRooms((await get("/api/rooms")).rooms);
		notice("");
		askForKey(false);
	} catch (error) {
		before = null;
		if (error instanceof KeyWanted) askForKey(true);
		for (const each of Object.values(charts)) each.push(performance.now(), each.what.series.map(() => null));
		notice(error instanceof Refused ? error.message : "The server cannot be reached. Trying again.");
	}
	setTimeout(() => figures(round + 1), 1_000);
}

// ---- who we are ------------------------------------------------------------------------------------------------------

/** @type {{name: string, room: string, topic: string, client: Ringcast, stop: () => void}} */
const me = /** @type {any} */ ({ name: session("name"), room: session("room"), topic: "", stop() {} });

/** @param {any} event */
function showState(event) {
	const words = /** @type {Record<string, string>} */ ({
		open: event.transport === "websocket" ? "connected" : `connected (${event.transport})`,
		waiting: event.delay ? `trying again in ${Math.ceil(event.delay / 1000)} s` : "trying again",
		failed: "not connected",
	});
	if (event.state !== "open") roundTrip = null;
	one("#state").textContent = words[event.state] ?? event.state;
	one("#state").dataset.state = event.state;
}

function connect() {
	me.client?.close();
	const token = session("token"), address = new URL(token ? "/ws" : `/ws/${encodeURIComponent(me.name)}`, location.href);
	const client = new Ringcast(address, {
		token: token || undefined, storage: `ringcast.chat.${me.name}`, heartbeat: 1_000, maxDelay: 5_000, maxTries: 1_000,
	});
	me.client = client;
	client.on("state", showState);
	client.on("latency", ({ ms }) => void (roundTrip = ms));
	client.on("room_message", hear);
	client.on("user_joined", message => note(message.room, `${message.userId} joined`));
	client.on("user_left", message => note(message.room, `${message.userId} left`));
	client.on("gap", message => message.topic && feedLine(make("span", `missed ${message.from} to ${message.to}`, "note")));
	client.on("error", message => message.code === "PERMISSION_DENIED" && notice(message.message));
	if (me.topic) follow(me.topic);
}

// ---- feed ------------------------------------------------------------------------------------------------------------

/** @type {HTMLElement[]} */ let arrived = [];
let updates = 0;

/** @param {HTMLElement} log @param {HTMLElement[]} lines */
function append(log, lines) {
	const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
	log.append(...lines.slice(-LOG_LINES));
	while (log.children.length > LOG_LINES) log.firstChild?.remove();
	if (atEnd) log.scrollTop = log.scrollHeight;
}

function clock(at = Date.now()) {
	return make("time", new Date(at).toLocaleTimeString([], { hour12: false }));
}

/** Lines are drawn once a frame, however fast they come, and only as many as fit. @param {HTMLElement} content */
function feedLine(content) {
	const line = make("li");
	line.append(clock(), content);
	if (arrived.push(line) > LOG_LINES) arrived.shift();
	if (arrived.length > 1) return;
	requestAnimationFrame(() => append(one("#feed .log"), arrived.splice(0)));
}

/** @param {string} topic */
function follow(topic) {
	me.stop();
	updates = 0;
	me.topic = topic;
	one("#feed form").topic.value = topic;
	one("#feed .log").replaceChildren();
	one("#feed-state").textContent = `of ${topic}`;
	me.stop = me.client.subscribe(topic, (data, update) => {
		const text = JSON.stringify(data) ?? "", name = topic.endsWith("*") ? `${update.topic} ` : "";
		feedLine(make("code", `${name}#${update.seq} ${text.length > 400 ? text.slice(0, 400) + " …" : text}`));
		one("#feed-state").textContent = `of ${topic}, ${short(++updates)} updates`;
	}, { last: true });
}

one("#feed form").onsubmit = (/** @type {any} */ event) => {
	event.preventDefault();
	follow(event.target.topic.value.trim());
};

// ---- chat ------------------------------------------------------------------------------------------------------------

/** @param {string} who @param {any} content @param {number} at @param {boolean} mine */
function chatLine(who, content, at, mine) {
	const line = make("li", "", mine ? "mine" : "");
	line.append(clock(at), make("span", who, "who"), typeof content === "string" ? content : JSON.stringify(content));
	append(one("#chat .log"), [line]);
	return line;
}

/** @param {any} message */
function hear(message) {
	if (message.room === me.room) chatLine(message.from, message.content, message.timestamp, message.from === me.client.userId);
}

/** @param {string} room @param {string} words */
function note(room, words) {
	if (room !== me.room) return;
	const line = make("li", "", "note");
	line.append(clock(), words);
	append(one("#chat .log"), [line]);
	countMembers();
}

function countMembers() {
	const room = me.room;
	me.client.members(room).then(
		answer => void (one("#chat-state").textContent = `${room}, ${answer.count === 1 ? "only you" : `${answer.count} people`}`),
		() => {});
}

/** @param {string} name @param {string} room */
async function enter(name, room) {
	const other = name !== me.name;
	if (!other && me.room) me.client.leave(me.room);
	Object.assign(me, { name, room });
	sessionStorage.setItem("ringcast.name", name);
	sessionStorage.setItem("ringcast.room", room);
	Object.assign(one("#enter").user, { value: name });
	Object.assign(one("#enter").room, { value: room });
	one("#chat .log").replaceChildren();
	one("#chat-state").textContent = `joining ${room}`;
	if (other) connect();
	try {
		await me.client.join(room);
	} catch (error) {
		one("#chat-state").textContent = /** @type {any} */ (error).message;
		return;
	}
	for (const control of one("#say").elements) control.disabled = false;
	note(room, `you are in ${room}`);
}

one("#enter").onsubmit = (/** @type {any} */ event) => {
	event.preventDefault();
	enter(event.target.user.value.trim(), event.target.room.value.trim());
};

one("#say").onsubmit = async (/** @type {any} */ event) => {
	event.preventDefault();
	const input = event.target.text, text = input.value.trim();
	if (!text) return;
	input.value = "";
	const line = chatLine(me.client.userId || me.name, text, Date.now(), true);
	line.classList.add("pending");
	try {
		await me.client.say(me.room, text);
	} catch (error) {
		line.classList.add("refused");
		line.dataset.why = /** @type {any} */ (error).message;
	}
	line.classList.remove("pending");
};

// ---- keys ------------------------------------------------------------------------------------------------------------

/** @param {boolean} shown */
function showKeys(shown) {
	const form = one("#keys");
	form.hidden = !shown;
	one("#access").setAttribute("aria-expanded", String(shown));
	Object.assign(form.key, { value: session("key") });
	Object.assign(form.token, { value: session("token") });
}

/** The key that the user was asked for last; null while none is wanted. @type {string|null} */
let asked = null;

/** Asks once for each key that is wrong: who closes the form, or is writing in it, is not disturbed. @param {boolean} wanted */
function askForKey(wanted) {
	const input = one("#keys").key, tried = session("key");
	input.setAttribute("aria-invalid", String(wanted && tried !== ""));
	if (wanted && asked !== tried) {
		showKeys(true);
		if (document.activeElement?.tagName !== "INPUT") input.select();
	}
	asked = wanted ? tried : null;
}

one("#access").onclick = () => showKeys(one("#keys").hidden);

one("#keys").onsubmit = (/** @type {any} */ event) => {
	event.preventDefault();
	sessionStorage.setItem("ringcast.key", event.target.key.value.trim());
	sessionStorage.setItem("ringcast.token", event.target.token.value.trim());
	showKeys(false);
	asked = null;
	connect();
	if (me.room) enter(me.name, me.room);
};

me.name ||= `guest-${Math.random().toString(36).slice(2, 6)}`;
one("#enter").user.value = me.name;
one("#enter").room.value = me.room || "lobby";
connect();
if (me.room) enter(me.name, me.room);
figures(0);
