// SPDX-License-Identifier: MIT
/**
 * book.js - the page of an order book: the ladder, and whether it is right. It reads ?form=json from /topic/NAME, and
 * leaves to Keyed what follows from the numbers. The checksum is that of Kraken: CRC32 over the digits of the ten best asks
 * and the ten best bids.
 */
import { Keyed } from "./ringcast.js";

const SHOWN = 12, DEPTH = 10, AWAY_MS = 2_000, WAIT_MAX_MS = 5_000;
const $ = id => document.getElementById(id);

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
	for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? byte >>> 1 ^ 0xedb88320 : byte >>> 1;
	return byte;
});

/** @param {string} text of digits */
function crc32(text) {
	let crc = 0xffffffff;
	for (let i = 0; i < text.length; i++) crc = CRC_TABLE[(crc ^ text.charCodeAt(i)) & 255] ^ crc >>> 8;
	return (crc ^ 0xffffffff) >>> 0;
}

/** The levels of a side, the best first: [price, quantity] in text. @param {Map<string, any>} map @param {"bid"|"ask"} side */
function levels(map, side) {
	const found = [];
	for (const [key, value] of map) if (key.startsWith(side + ":")) found.push([key.slice(4), value.q]);
	return found.sort((a, b) => side === "ask" ? a[0] - b[0] : b[0] - a[0]);
}

const digits = text => text.replace(".", "").replace(/^0+/, "");

/** @param {Map<string, any>} map */
function checksum(map) {
	const best = [...levels(map, "ask").slice(0, DEPTH), ...levels(map, "bid").slice(0, DEPTH)];
	return crc32(best.map(([price, quantity]) => digits(price) + digits(quantity)).join(""));
}

// ---- what is followed ----

const base = location.protocol.replace("http", "ws") + "//" + location.host;
let keyed, socket, timer, wait = 250, updates = 0, compared = 0, wrong = 0, changed = true;

/** @param {string} topic */
function follow(topic) {
	keyed = new Keyed(topic);
	updates = compared = wrong = 0;
	keyed.on("change", () => (changed = true));
	$("command").textContent = `ringcast sub --state --verify ${base}/topic/${topic}`;
	connect();
}

function hear(message) {
	if (message.m) return keyed.mark(message.m, message.e, message.s);
	updates++;
	const { k: key, s: seq, e: epoch, p: prev, d: data } = message;
	const good = keyed.update({ key, seq, epoch, prev, data, removed: message.r, snapshot: message.b });
	// In the middle of a run the Map is still what it was, and the checksum is of what it will be.
	if (keyed.whole && data) {
		compared++;
		wrong += checksum(keyed.map) !== data.c;
	}
	return good;
}

function connect() {
	disconnect();
	const address = new URL(`${base}/topic/${encodeURIComponent(keyed.topic)}?form=json&state=1`), from = keyed.position;
	if (from) for (const [name, value] of Object.entries(from)) address.searchParams.set(name, value);
	if ($("rate").value) address.searchParams.set("rate", $("rate").value);
	const mine = socket = new WebSocket(address);
	say("connecting", "connecting");
	mine.onopen = () => say("open", "connected");
	mine.onmessage = event => {
		wait = 250;
		// Something was lost: the next connection begins with the state.
		if (mine === socket && !hear(JSON.parse(event.data))) connect();
	};
	mine.onclose = () => mine === socket && later(wait, "trying again");
}

function disconnect() {
	clearTimeout(timer);
	const old = socket;
	socket = null;
	old?.close();
}

function later(ms, words) {
	disconnect();
	say("waiting", words);
	timer = setTimeout(connect, ms);
	wait = Math.min(wait * 2, WAIT_MAX_MS);
}

// ---- what is shown ----

function say(state, words) {
	$("state").dataset.state = state;
	$("state").textContent = words;
}

function row(side, price, quantity, most) {
	const line = document.createElement("tr"), share = Math.min(100, 100 * quantity / most).toFixed(1) + "%";
	line.dataset.side = side;
	for (const [index, text] of [side === "bid" ? quantity : "", price, side === "ask" ? quantity : ""].entries()) {
		const cell = line.insertCell();
		cell.textContent = text;
		if (text && index !== 1) cell.style.setProperty("--share", share);
	}
	return line;
}

function drawLadder() {
	const asks = levels(keyed.map, "ask").slice(0, SHOWN), bids = levels(keyed.map, "bid").slice(0, SHOWN);
	const most = Math.max(1e-9, ...[...asks, ...bids].map(([, quantity]) => Number(quantity)));
	$("ladder").tBodies[0].replaceChildren(...asks.reverse().map(([price, quantity]) => row("ask", price, quantity, most)),
		...bids.map(([price, quantity]) => row("bid", price, quantity, most)));
}

function drawTiles() {
	const age = keyed.heardAt ? Date.now() - keyed.heardAt : null;
	const tiles = {
		Updates: updates, Number: keyed.seq, Levels: keyed.map.size, Gaps: keyed.gaps, Resyncs: keyed.resyncs,
		Age: age === null ? "-" : age < 10_000 ? `${age} ms` : `${Math.round(age / 1000)} s`,
		Checked: compared, Wrong: wrong,
	};
	if (!$("tiles").children.length)
		$("tiles").append(...Object.keys(tiles).map(name => {
			const tile = document.createElement("div");
			tile.append(Object.assign(document.createElement("dt"), { textContent: name }),
				Object.assign(document.createElement("dd"), { id: name.toLowerCase() }));
			return tile;
		}));
	for (const [name, value] of Object.entries(tiles)) $(name.toLowerCase()).textContent = value;
	$("proof").textContent = wrong ? "NOT right" : !keyed.whole ? "not whole yet" : compared ? "proven" : "";
}

function draw() {
	keyed.tick(Date.now());
	if (changed) drawLadder();
	changed = false;
	drawTiles();
	requestAnimationFrame(draw);
}

const topics = await (await fetch("/books", { cache: "no-store" })).json();
const asked = new URLSearchParams(location.search).get("topic");
$("book").append(...topics.map(topic => new Option(topic, topic, false, topic === asked)));
$("book").onchange = () => (changed = true, follow($("book").value));
$("rate").onchange = connect;
$("break").onclick = () => later(AWAY_MS, "away");
follow(topics.includes(asked) ? asked : topics[0]);
draw();
