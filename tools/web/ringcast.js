// SPDX-License-Identifier: MIT
/**
 * ringcast.js - a client of `ringcast app`, for browsers and for Node (18 and newer). It depends on nothing; in a Node
 * without a WebSocket of its own it takes npm's `ws`.
 *
 *      const client = new Ringcast("wss://example.org/ws/alice", { storage: "chat" });
 *      client.on("room_message", message => show(message.from, message.content));
 *      await client.join("lobby");
 *      await client.say("lobby", "hello");              // resolves when the server has it
 *      client.subscribe("prices/*", (data, update) => draw(update.topic, data));
 *
 * What it promises: a message given to send() and its kin goes out once the server can be reached, and again until it is
 * acknowledged, always with the same id; what comes in is handed to its handlers once, and in order, rooms and feeds from
 * where they stopped, over any number of connections. A gap that nobody can fill is told as a message of type "gap".
 *
 * When no WebSocket gets through but HTTP does, feeds (and only they) come as server-sent events, or by long polling:
 *   GET /sse/TOPIC[,TOPIC...]   each event's data is a message of the dialect (update, gap, subscribed); its id comes back
 *                               as Last-Event-ID
 *   GET /poll/TOPIC[,TOPIC...]  {"messages":[...], "topics":[{"topic","seq","epoch"}...]}; 204 is no message
 * both with ?since=SEQ[,SEQ...]&epoch=EPOCH[,EPOCH...], in the order of the topics, empty where nothing is known yet.
 */

/**
 * @typedef {{type: string, [member: string]: any}} Message
 * @typedef {(message: any) => void} Handler
 * @typedef {"idle"|"connecting"|"open"|"waiting"|"failed"|"closed"} State
 * @typedef {"websocket"|"sse"|"poll"} Transport
 *
 * @typedef {object} Options
 * @property {string|(() => string|Promise<string>)} [token] sent as the second subprotocol, and again when it expires
 * @property {boolean} [reliable] direct messages are to be acknowledged by this client
 * @property {number} [minDelay] ms before the first new try; doubles with each
 * @property {number} [maxDelay] ms
 * @property {number} [maxTries] in a row, then the state is "failed" until connect()
 * @property {number} [connectTimeout] ms
 * @property {number} [heartbeat] ms between two pings
 * @property {number} [heartbeatTimeout] ms of silence after a ping that end a connection
 * @property {number} [ackTimeout] ms until a message is sent again; doubles with each time
 * @property {number} [resendMax] times on one connection
 * @property {number} [window] messages on the way without ACK
 * @property {number} [queueMax] messages that wait, those on the way included
 * @property {number} [requestTimeout] ms for the answer to join(), history() and the like
 * @property {{count: number, delay: number}} [batch] what the server may gather into one message
 * @property {string} [storage] keep what waits in localStorage, under names that begin so
 * @property {Storage} [store] another place than localStorage
 * @property {Transport[]} [transports] in the order to be tried
 * @property {number} [fallbackAfter] tries without a WebSocket before the others
 * @property {number} [upgradeAfter] ms between two tries to get back to a WebSocket
 * @property {string} [http] where /sse and /poll are; by default beside /ws
 * @property {any} [WebSocket] the constructor to use
 *
 * @typedef {{id: string, data: any, tries: number, due: number, sent: boolean, resolve: () => void,
 *   reject: (error: RingcastError) => void}} Entry
 * @typedef {{name: string, ready: boolean, last: string|undefined, held: Message[], joined: Promise<void>,
 *   resolve: () => void, reject: (error: RingcastError) => void}} Room
 * @typedef {{name: string, last: boolean, conflate: boolean, handlers: Set<(data: any, update: Message) => void>}} Wish
 * @typedef {{epoch: number|undefined, seq: number, heard: boolean}} Place
 * @typedef {{opened: () => void, heard: (message: Message) => void, ended: (code: number, reason: string) => void}} Ear
 * @typedef {{kind: Transport, send: (text: string) => void, close: (code?: number, reason?: string) => void}} Link
 */

const DEFAULTS = {
	reliable: true,
	minDelay: 500,
	maxDelay: 30_000,
	maxTries: 30,
	connectTimeout: 10_000,
	heartbeat: 15_000,
	heartbeatTimeout: 10_000,
	ackTimeout: 5_000,
	resendMax: 5,
	window: 32,
	queueMax: 1_000,
	requestTimeout: 10_000,
	fallbackAfter: 2,
	upgradeAfter: 60_000,
	transports: /** @type {Transport[]} */ (["websocket", "sse", "poll"]),
};
const TICK = 250;
const REMEMBERED = 4_096; // ids of what has come, and of what went out
const TOPICS_PER_MESSAGE = 100;
const STABLE = 3_000;
const PAUSE = 1_000; // after the server said that it was too much
const SILENCE = 90_000; // of server-sent events or a long poll

export class RingcastError extends Error {
	/** @param {string} code @param {string} words */
	constructor(code, words) {
		super(words);
		this.name = "RingcastError";
		this.code = code;
	}
}

/** The newest so many things. */
class Memory {
	#items = new Set();

	/** @param {string} item @returns {boolean} whether it is new */
	add(item) {
		if (this.#items.has(item)) return false;
		this.#items.add(item);
		if (this.#items.size > REMEMBERED) this.#items.delete(this.#items.values().next().value);
		return true;
	}

	/** @param {string} item */
	has(item) {
		return this.#items.has(item);
	}
}

/** @param {string} text @returns {any} */
function parse(text) {
	try {
		return JSON.parse(text);
	} catch {
		return null;
	}
}

/** @param {string} pattern @param {string} name */
function matches(pattern, name) {
	return pattern === name || (pattern.endsWith("*") && name.startsWith(pattern.slice(0, -1)));
}

/** A history's end, as the id of a room's message. @param {Message} page @returns {string|undefined} */
function placeOf(page) {
	return page.epoch ? `${page.epoch.toString(16)}-${page.seq}` : undefined;
}

/** @param {string} id */
const epochOf = id => id.slice(0, id.lastIndexOf("-"));

// ---- ways to the server --------------------------------------------------------------------------------------------

/** @returns {Promise<any>} a WebSocket constructor */
async function findWebSocket() {
	if (globalThis.WebSocket) return globalThis.WebSocket;
	try {
		// By require, so that NODE_PATH counts. A name in a variable keeps bundlers for browsers from looking for it.
		const module = "node:module";
		const { createRequire } = await import(module);
		return createRequire(import.meta.url)("ws");
	} catch {
		throw new RingcastError("NO_WEBSOCKET", "this Node has no WebSocket, and npm's ws is not installed");
	}
}

/** @implements {Link} */
class SocketLink {
	/** @type {Transport} */ kind = "websocket";
	#socket;

	/** @param {any} make @param {string} address @param {string[]} protocols @param {Ear} ear */
	constructor(make, address, protocols, ear) {
		this.#socket = new make(address, protocols);
		this.#socket.onmessage = (/** @type {any} */ event) => {
			const message = typeof event.data === "string" ? parse(event.data) : null;
			if (message) ear.heard(message);
		};
		this.#socket.onerror = () => {}; // a close follows, and says more
		this.#socket.onclose = (/** @type {any} */ event) => ear.ended(event.code, event.reason);
	}

	/** @param {string} text */
	send(text) {
		if (this.#socket.readyState === 1) this.#socket.send(text);
	}

	close(code = 1000, reason = "") {
		this.#socket.onmessage = this.#socket.onclose = null;
		this.#socket.close(code, reason);
	}
}

/** What both ways over plain HTTP have in common: one request after another, until close(). @implements {Link} */
class HttpLink {
	/** @type {Transport} */ kind = "poll";
	/** @type {AbortController} */ abort = new AbortController();
	/** @type {any} */ #timer;

	/** @param {() => Promise<void>} run @param {Ear} ear */
	start(run, ear) {
		run().then(() => "ended", error => String(error.message ?? error)).then(reason => {
			clearTimeout(this.#timer);
			if (!this.abort.signal.aborted) ear.ended(1006, reason);
			else if (this.abort.signal.reason === "silence") ear.ended(1006, "nothing heard");
		});
	}

	/** From now on it may be silent for so long, and no longer. */
	listen() {
		clearTimeout(this.#timer);
		this.#timer = setTimeout(() => this.abort.abort("silence"), SILENCE);
	}

	/** @param {string} address @param {Record<string, string>} headers */
	async fetch(address, headers) {
		this.listen();
		const answer = await fetch(address, { headers, signal: this.abort.signal, cache: "no-store" });
		if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
		return answer;
	}

	send() {}

	close() {
		clearTimeout(this.#timer);
		this.abort.abort("closed");
	}
}

/** Server-sent events, by fetch: EventSource can neither send a token nor begin at a place of our choice. */
class EventsLink extends HttpLink {
	/** @param {string} address @param {Record<string, string>} headers @param {Ear} ear
	 *  @param {(id: string) => void} place is told each event's id */
	constructor(address, headers, ear, place) {
		super();
		this.kind = /** @type {Transport} */ ("sse");
		this.start(() => this.#run(address, headers, ear, place), ear);
	}

	/** @param {string} address @param {Record<string, string>} headers @param {Ear} ear @param {(id: string) => void} place */
	async #run(address, headers, ear, place) {
		const answer = await this.fetch(address, { ...headers, Accept: "text/event-stream" });
		if (!answer.body || !/^text\/event-stream/i.test(answer.headers.get("Content-Type") ?? ""))
			throw new Error("not a stream of events");
		ear.opened();
		const reader = answer.body.getReader(), decoder = new TextDecoder();
		let rest = "", data = "", id = "";
		for (;;) {
			const { done, value } = await reader.read();
			if (done) return;
			this.listen();
			rest += decoder.decode(value, { stream: true });
			// A lone CR at the end may be the first half of a CRLF.
			const lines = rest.split(/\r\n|\n|\r(?!$)/);
			rest = lines.pop() ?? "";
			for (const line of lines) {
				const [, field, text] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
				if (field === "data") data += (data && "\n") + text;
				else if (field === "id") id = text;
				if (line !== "") continue;
				const message = data && parse(data);
				data = "";
				if (message) ear.heard(message);
				if (id) place(id);
			}
		}
	}
}

class PollLink extends HttpLink {
	/** @param {() => string} address of the next request @param {Record<string, string>} headers @param {Ear} ear */
	constructor(address, headers, ear) {
		super();
		this.start(() => this.#run(address, headers, ear), ear);
	}

	/** @param {() => string} address @param {Record<string, string>} headers @param {Ear} ear */
	async #run(address, headers, ear) {
		for (let first = true; !this.abort.signal.aborted; first = false) {
			const begin = Date.now();
			const answer = await this.fetch(address(), headers);
			const page = answer.status === 204 ? {} : parse(await answer.text());
			if (!page || typeof page !== "object") throw new Error("not an answer to a poll");
			if (first) ear.opened();
			if (page.topics) ear.heard({ type: "subscribed", topics: page.topics });
			for (const message of page.messages ?? []) ear.heard(message);
			// A server that does not wait is not to be asked all the time.
			if (!page.messages?.length && Date.now() - begin < PAUSE) await new Promise(done => setTimeout(done, PAUSE));
		}
	}
}

// ---- the client ----------------------------------------------------------------------------------------------------

export class Ringcast {
	/** @type {State} */ #state = "idle";
	/** @type {Options & typeof DEFAULTS} */ #options;
	/** @type {URL} */ #address;
	/** @type {Map<string, Set<Handler>>} */ #handlers = new Map();
	/** @type {Link|null} */ #link = null;
	/** @type {Set<() => void>} */ #attempts = new Set(); // each ends a link that has not opened yet
	#turn = 0; // an attempt that belongs to an older turn is void
	#tries = 0;
	#socketFailures = 0;
	/** @type {any} */ #retryTimer;
	/** @type {any} */ #tickTimer;
	/** @type {any} */ #upgradeTimer;
	/** @type {number|undefined} */ #askedDelay;
	/** @type {string} */ #userId = "";
	#openedAt = 0;
	#pinged = false; // and has heard nothing since
	#lastPing = 0;
	#pausedUntil = 0;
	#windowNow = 1;

	/** @type {Map<string, Entry>} */ #outbox = new Map();
	/** @type {Map<string, {resolve: (answer: Message) => void, reject: (e: RingcastError) => void, due: number}>} */
	#requests = new Map();
	/** @type {Map<string, Room>} */ #rooms = new Map();
	/** @type {Map<string, Wish>} */ #wishes = new Map();
	/** @type {Map<string, Place>} */ #places = new Map();
	#eventId = "";
	#seen = new Memory();
	#mine = new Memory();
	#idPrefix = "";
	#idCount = 0;
	#online = () => this.#state === "waiting" || this.#state === "failed" ? this.connect() : undefined;

	/** @param {string|URL} address of the WebSocket: wss://HOST/ws/USER @param {Options} [options] */
	constructor(address, options = {}) {
		this.#options = { ...DEFAULTS, ...options };
		this.#windowNow = this.#options.window;
		const base = typeof location === "undefined" ? undefined : location.href;
		this.#address = new URL(address, base);
		this.#address.protocol = this.#address.protocol.replace(/^http/, "ws");
		if (this.#options.reliable) this.#address.searchParams.set("reliable", "1");
		this.#idPrefix = Date.now().toString(36) + Math.random().toString(36).slice(2);
		this.#load();
		this.connect();
	}

	/** @returns {State} */
	get state() {
		return this.#state;
	}

	/** What is in use while the state is "open". @returns {Transport|null} */
	get transport() {
		return this.#link?.kind ?? null;
	}

	/** Who we are, as the server sees it. */
	get userId() {
		return this.#userId;
	}

	/** Messages not yet acknowledged. */
	get queued() {
		return this.#outbox.size;
	}

	/**
	 * Handles messages of a type; "*" is all. Of our own making are "state" (on each change, with `state`, `transport`,
	 * `tries`, `delay`, `code`, `reason`), "latency" (`ms` to the server and back) and some of the "gap".
	 * @param {string} type @param {Handler} handler @returns {() => void} takes it away again
	 */
	on(type, handler) {
		const all = this.#handlers.get(type) ?? new Set();
		this.#handlers.set(type, all.add(handler));
		return () => void all.delete(handler);
	}

	/** @param {Message} message */
	#emit(message) {
		for (const handler of [...(this.#handlers.get(message.type) ?? []), ...(this.#handlers.get("*") ?? [])])
			this.#call(() => handler(message));
	}

	/** A handler that fails is its author's to hear of, and nobody else's to suffer from. @param {() => void} handler */
	#call(handler) {
		try {
			handler();
		} catch (error) {
			(globalThis.reportError ?? console.error)(error);
		}
	}

	/** @param {State} state @param {object} [more] */
	#become(state, more = {}) {
		this.#state = state;
		this.#emit({ type: "state", state, transport: this.transport, tries: this.#tries, ...more });
	}

	// ---- connecting ----

	/** Tries now. It is called by itself when the client is made; call it after "failed", "closed", or to hurry. */
	connect() {
		if (this.#state === "connecting" || this.#state === "open") return;
		if (this.#state !== "waiting") this.#tries = 0;
		clearTimeout(this.#retryTimer);
		globalThis.addEventListener?.("online", this.#online);
		this.#attempt(++this.#turn);
	}

	/** Ends for good, or until connect(). What is not yet acknowledged stays where it is. */
	close(code = 1000, reason = "") {
		this.#turn++;
		this.#drop(code, reason);
		globalThis.removeEventListener?.("online", this.#online);
		this.#become("closed", { code, reason });
	}

	/** @param {number} turn */
	async #attempt(turn) {
		this.#become("connecting");
		const others = this.#wishes.size > 0 && this.#socketFailures >= this.#options.fallbackAfter;
		let why = { code: 1006, reason: "" };
		for (const kind of this.#options.transports) {
			if (kind !== "websocket" && !others && this.#options.transports.includes("websocket")) continue;
			const ended = await this.#open(kind, turn);
			if (turn !== this.#turn || !ended) return;
			if (!why.reason) why = ended;
		}
		this.#retry(why.code, why.reason);
	}

	/** @param {Transport} kind @param {number} turn
	 *  @returns {Promise<{code: number, reason: string}|null>} null: it is open, and the one in use */
	async #open(kind, turn) {
		/** @type {(why: {code: number, reason: string}|null) => void} */ let done = () => {};
		const opened = new Promise(resolve => void (done = resolve));
		let link = /** @type {Link|null} */ (null), settled = false;
		const cancel = () => {
			settled = true;
			clearTimeout(timer);
			this.#attempts.delete(cancel);
			if (link !== this.#link) link?.close(4000, "no welcome");
		};
		this.#attempts.add(cancel);
		const settle = (/** @type {{code: number, reason: string}|null} */ why) => {
			if (!why) this.#adopt(/** @type {Link} */ (link));
			cancel();
			if (kind === "websocket") this.#socketFailures = why ? this.#socketFailures + 1 : 0;
			done(why);
		};
		const timer = setTimeout(() => settle({ code: 1006, reason: "timed out" }), this.#options.connectTimeout);
		const ear = {
			opened: () => {
				if (!settled && link) settle(null);
			},
			heard: (/** @type {Message} */ message) => {
				if (link !== this.#link && message.type === "welcome") {
					this.#userId = message.userId ?? "";
					ear.opened();
				}
				if (link === this.#link) this.#hear(message);
			},
			ended: (/** @type {number} */ code, /** @type {string} */ reason) => {
				if (!settled) settle({ code, reason });
				else if (link === this.#link) this.#lost(code, reason);
			},
		};
		try {
			link = await this.#makeLink(kind, ear);
			if (settled) link.close();
		} catch (error) {
			if (!settled) settle({ code: 1006, reason: String(/** @type {any} */ (error).message ?? error) });
		}
		return /** @type {Promise<any>} */ (opened);
	}

	/** @param {Transport} kind @param {Ear} ear @returns {Promise<Link>} */
	async #makeLink(kind, ear) {
		const token = await this.#token();
		if (kind === "websocket") {
			const make = this.#options.WebSocket ?? (await findWebSocket());
			return new SocketLink(make, this.#address.href, token ? ["ringcast.json", token] : ["ringcast.json"], ear);
		}
		/** @type {Record<string, string>} */
		const headers = token ? { Authorization: `Bearer ${token}` } : {};
		if (kind === "poll") {
			let turns = 0;
			return new PollLink(() => this.#feedAddress("poll", turns++ > 0), headers, ear);
		}
		if (this.#eventId) headers["Last-Event-ID"] = this.#eventId;
		return new EventsLink(this.#feedAddress("sse"), headers, ear, id => void (this.#eventId = id));
	}

	async #token() {
		const token = this.#options.token;
		return typeof token === "function" ? token() : token;
	}

	/** @param {Transport} kind @param {boolean} [goesOn] it is not the first of its kind: what is new since then is wanted */
	#feedAddress(kind, goesOn = false) {
		// What a pattern has brought so far is asked for by name, so that each goes on from its own place.
		const topics = [...new Set([...this.#wishes.keys(), ...this.#places.keys()])];
		const places = topics.map(name => this.#places.get(name)), wishes = [...this.#wishes.values()];
		const root = this.#options.http ?? this.#address.pathname.replace(/\/ws(\/[^/]*)?$/, "");
		const address = new URL(root || "/", this.#address.href.replace(/^ws/, "http"));
		address.pathname = address.pathname.replace(/\/$/, "") + `/${kind}/` + topics.map(encodeURIComponent).join(",");
		address.search = "";
		if (wishes.every(wish => wish.last)) address.searchParams.set("last", "1");
		if (wishes.every(wish => wish.conflate)) address.searchParams.set("conflate", "1");
		if (goesOn || places.some(Boolean)) {
			address.searchParams.set("since", places.map(place => place?.seq ?? "").join());
			address.searchParams.set("epoch", places.map(place => place?.epoch ?? "").join());
		}
		return address.href;
	}

	/** @param {Link} link */
	#adopt(link) {
		this.#link?.close();
		this.#link = link;
		this.#openedAt = this.#lastPing = Date.now();
		this.#pinged = false;
		this.#pausedUntil = 0;
		this.#askedDelay = undefined;
		clearTimeout(this.#upgradeTimer);
		clearInterval(this.#tickTimer);
		if (link.kind === "websocket") {
			this.#tickTimer = setInterval(() => this.#tick(), TICK);
			// With a token that it could not be shown, the server does not know us yet.
			if (!this.#userId && this.#options.token) this.#authenticate().catch(() => {});
			else this.#resume();
		} else if (this.#options.transports.includes("websocket")) {
			this.#upgradeTimer = setTimeout(() => this.#upgrade(), this.#options.upgradeAfter);
		}
		this.#become("open");
	}

	/** Events go on while a WebSocket is tried. */
	async #upgrade() {
		const turn = this.#turn;
		if ((await this.#open("websocket", turn)) && turn === this.#turn && this.#link)
			this.#upgradeTimer = setTimeout(() => this.#upgrade(), this.#options.upgradeAfter);
	}

	/** Leaves what is open or about to be. @param {number} [code] @param {string} [reason] */
	#drop(code, reason) {
		clearTimeout(this.#retryTimer);
		clearTimeout(this.#upgradeTimer);
		clearInterval(this.#tickTimer);
		for (const cancel of this.#attempts) cancel();
		this.#link?.close(code, reason);
		this.#link = null;
		for (const entry of this.#outbox.values()) Object.assign(entry, { sent: false, tries: 0 });
		for (const room of this.#rooms.values()) Object.assign(room, { ready: false, held: [] });
		const requests = [...this.#requests.values()];
		this.#requests.clear();
		for (const request of requests) request.reject(new RingcastError("OFFLINE", "the connection was lost"));
	}

	/** @param {number} code @param {string} reason */
	#lost(code, reason) {
		this.#turn++;
		// Who is let in and at once shown out has not got anywhere.
		if (Date.now() - this.#openedAt >= STABLE) this.#tries = 0;
		this.#drop(4000, "lost");
		this.#retry(code, reason);
	}

	/** @param {number} code @param {string} reason */
	#retry(code, reason) {
		if (this.#tries >= this.#options.maxTries) {
			this.#become("failed", { code, reason });
			return;
		}
		const { minDelay, maxDelay } = this.#options;
		const whole = Math.min(maxDelay, minDelay * 2 ** this.#tries);
		const delay = Math.round(this.#askedDelay ?? whole / 2 + (Math.random() * whole) / 2);
		this.#askedDelay = undefined;
		this.#tries++;
		this.#retryTimer = setTimeout(() => this.connect(), delay);
		this.#become("waiting", { delay, code, reason });
	}

	#tick() {
		const now = Date.now(), { heartbeat, heartbeatTimeout, resendMax } = this.#options;
		// Judged by a ping alone, not by silence: the timers of a page in the background come once a minute, if at all.
		if (this.#pinged && now - this.#lastPing >= heartbeatTimeout) return this.#lost(1006, "nothing heard");
		if (!this.#pinged && now - this.#lastPing >= heartbeat) {
			this.#pinged = true;
			this.#lastPing = now;
			this.#write({ type: "ping", timestamp: performance.now() });
		}
		for (const [id, request] of this.#requests) {
			if (request.due > now) continue;
			this.#requests.delete(id);
			request.reject(new RingcastError("TIMEOUT", "no answer"));
		}
		for (const entry of this.#outbox.values()) {
			if (!entry.sent || entry.due > now || this.#pausedUntil > now) continue;
			if (entry.tries > resendMax)
				this.#settle(entry, new RingcastError("NOT_ACKNOWLEDGED", `sent ${entry.tries} times without ACK`));
			else this.#transmit(entry);
		}
		this.#flush();
	}

	/** @param {Message} message */
	#write(message) {
		this.#link?.send(JSON.stringify(message));
	}

	// ---- after a connection opened ----

	#resume() {
		if (this.#options.batch) this.#write({ type: "batching", ...this.#options.batch });
		for (const room of this.#rooms.values()) this.#enter(room);
		this.#ask([...this.#wishes.values()]);
		this.#flush();
	}

	async #authenticate() {
		const token = await this.#token();
		if (token) await this.request({ type: "auth", token });
	}

	/** Joins, and hears what was said in between before anything that is said now. @param {Room} room */
	async #enter(room) {
		const turn = this.#turn;
		try {
			await this.request({ type: "join_room", room: room.name });
			await this.#recover(room);
		} catch (error) {
			const { code } = /** @type {RingcastError} */ (error);
			if (turn !== this.#turn || this.#rooms.get(room.name) !== room) return;
			if (code === "TIMEOUT") this.#enter(room);
			else this.#forget(room, /** @type {RingcastError} */ (error));
			return;
		}
		room.ready = true;
		for (const message of room.held.splice(0)) this.#hearInRoom(room, message);
		room.resolve();
		this.#flush();
	}

	/** @param {Room} room */
	async #recover(room) {
		if (!room.last) {
			// Nothing heard there yet: only where it stands is of interest.
			const page = await this.request({ type: "history", room: room.name, limit: 1 });
			room.last ??= placeOf(page);
			return;
		}
		for (let since = room.last, next = since; ; since = next) {
			const page = await this.request({ type: "history", room: room.name, since });
			next = placeOf(page) ?? since;
			if (epochOf(next) !== epochOf(since)) this.#emit({ type: "gap", room: room.name, reset: true });
			for (const message of page.messages) this.#hearInRoom(room, message);
			room.last = next;
			if (next === since) return;
		}
	}

	/** @param {Room} room @param {RingcastError} error */
	#forget(room, error) {
		this.#rooms.delete(room.name);
		room.reject(error);
		for (const entry of [...this.#outbox.values()])
			if (entry.data?.type === "room_message" && entry.data.room === room.name) this.#settle(entry, error);
	}

	/** Subscribes to what is wished for, each topic from where it had come to. @param {Wish[]} wishes */
	#ask(wishes) {
		/** @type {Map<string, {last: boolean, conflate: boolean, topics: Set<string>}>} */
		const kinds = new Map();
		for (const { name, last, conflate } of wishes) {
			const key = `${last} ${conflate}`, kind = kinds.get(key) ?? { last, conflate, topics: new Set() };
			// Those that a pattern has brought so far come by their own names: only so does each begin at its own place.
			if (name.endsWith("*"))
				for (const known of this.#places.keys()) if (matches(name, known)) kind.topics.add(known);
			kinds.set(key, { ...kind, topics: kind.topics.add(name) });
		}
		for (const { topics, last, conflate } of kinds.values()) {
			const all = [...topics];
			for (let at = 0; at < all.length; at += TOPICS_PER_MESSAGE)
				this.#subscribe(all.slice(at, at + TOPICS_PER_MESSAGE), last, conflate);
		}
	}

	/** @param {string[]} topics @param {boolean} last @param {boolean} conflate */
	#subscribe(topics, last, conflate) {
		/** @type {Record<string, number>} */ const since = {}, /** @type {Record<string, number>} */ epoch = {};
		for (const name of topics) {
			const place = this.#places.get(name);
			if (place) since[name] = place.seq;
			if (place?.epoch !== undefined) epoch[name] = place.epoch;
		}
		const turn = this.#turn;
		this.request({ type: "subscribe", topics, since, epoch, last, conflate }).catch(error => {
			if (error.code === "TIMEOUT" && turn === this.#turn) this.#subscribe(topics, last, conflate);
		});
	}

	// ---- what comes ----

	/** @param {Message} message */
	#hear(message) {
		this.#pinged = false;
		switch (message.type) {
		case "batch":
			for (const each of message.messages ?? []) this.#hear(each);
			return;
		case "ACK":
			this.#windowNow = Math.min(this.#options.window, this.#windowNow + 1 / this.#windowNow);
			return this.#settle(this.#outbox.get(message.data?.messageId), null);
		case "DATA":
			this.#write({ type: "ACK", data: { messageId: message.id } });
			if (this.#seen.add(`DATA ${message.id}`) && message.data?.type) this.#hear(message.data);
			return;
		case "pong":
			if (typeof message.timestamp === "number")
				this.#emit({ type: "latency", ms: performance.now() - message.timestamp });
			break;
		case "update":
			return this.#hearUpdate(message);
		case "gap":
			this.#move(message.topic, message.epoch, message.to, true);
			break;
		case "subscribed":
			for (const { topic, seq, epoch } of message.topics ?? [])
				if (epoch !== undefined && !this.#places.has(topic) && !this.#wishes.get(topic)?.last)
					this.#move(topic, epoch, seq, false);
			break;
		case "room_message":
			return this.#hearLive(this.#rooms.get(message.room), message);
		case "direct":
		case "broadcast":
			if (!this.#isNew(message)) return;
			break;
		case "auth_success":
			this.#pausedUntil = 0;
			if (!this.#userId) queueMicrotask(() => this.#resume());
			this.#userId = message.userId;
			break;
		case "auth_expired":
			this.#authenticate().catch(() => {});
			break;
		case "going_away":
			this.#askedDelay = message.reconnectAfter;
			break;
		case "error":
			if (this.#hearError(message)) return;
			break;
		}
		this.#answer(message);
		this.#emit(message);
	}

	/** @param {Message} message */
	#answer(message) {
		const request = this.#requests.get(message.id);
		if (!request || message.type === "room_message" || message.type === "direct") return;
		this.#requests.delete(message.id);
		if (message.type === "error") request.reject(new RingcastError(message.code, message.message));
		else request.resolve(message);
	}

	/** @param {Message} message @returns {boolean} whether that was all */
	#hearError(message) {
		const entry = this.#outbox.get(message.id);
		if (message.code === "RATE_LIMIT_EXCEEDED") this.#slowDown();
		if (!entry) return false;
		if (message.code === "AUTH_REQUIRED") {
			entry.sent = false;
			this.#pausedUntil = Infinity; // until auth_success
		} else if (message.code === "TRY_LATER") {
			// It was acknowledged and not published: under its old id it would be taken for a duplicate.
			this.#outbox.delete(entry.id);
			this.#unsave(entry);
			this.#put({ ...entry, id: this.#newId(), sent: false, tries: 0 });
			this.#pausedUntil = Date.now() + PAUSE;
		} else {
			this.#settle(entry, new RingcastError(message.code, message.message));
			return false;
		}
		return true;
	}

	/** Nobody says which messages it was that were too many: after a while all that are on the way go again, fewer at once. */
	#slowDown() {
		const now = Date.now();
		if (this.#pausedUntil <= now) this.#windowNow = Math.max(1, this.#windowNow / 2);
		this.#pausedUntil = Math.max(this.#pausedUntil, now + PAUSE);
		for (const entry of this.#outbox.values()) Object.assign(entry, { sent: false, tries: 0 });
	}

	/** By the server's id, and by what its sender called it: whoever sends again after a server died gets a new id from
	 * the next. @param {Message} message */
	#isNew(message) {
		if (message.ref !== undefined && message.from === this.#userId && this.#mine.has(message.ref)) return false;
		const fresh = message.id === undefined || this.#seen.add(`${message.type} ${message.id}`);
		return (message.ref === undefined || this.#seen.add(`${message.from} ${message.ref}`)) && fresh;
	}

	/** What is said now waits for what was said while we were away. @param {Room|undefined} room @param {Message} message */
	#hearLive(room, message) {
		if (room?.last && !room.ready) room.held.push(message);
		else this.#hearInRoom(room, message);
	}

	/** @param {Room|undefined} room @param {Message} message */
	#hearInRoom(room, message) {
		if (!this.#isNew(message)) return;
		if (room) room.last = message.id;
		this.#emit(message);
	}

	/** @param {Message} message */
	#hearUpdate(message) {
		const { topic, seq, epoch, data } = message, place = this.#places.get(topic);
		const wishes = [...this.#wishes.values()].filter(wish => matches(wish.name, topic));
		if (place?.heard && place.epoch === epoch) {
			if (seq <= place.seq) return;
			if (seq > place.seq + 1 && !wishes.some(wish => wish.conflate))
				this.#emit({ type: "gap", topic, from: place.seq + 1, to: seq - 1, epoch });
		}
		this.#move(topic, epoch, seq, true);
		for (const wish of wishes) for (const handler of wish.handlers) this.#call(() => handler(data, message));
		this.#emit(message);
	}

	/** @param {string} topic @param {number|undefined} epoch @param {number} seq @param {boolean} heard */
	#move(topic, epoch, seq, heard) {
		this.#places.set(topic, { epoch, seq, heard });
	}

	// ---- what goes ----

	#newId() {
		return `${this.#idPrefix}-${++this.#idCount}`;
	}

	/** Sends now, and resolves with the answer that has its id. It is not queued. @param {Message} message
	 *  @returns {Promise<Message>} */
	request(message) {
		const id = message.id ?? this.#newId();
		if (this.#link?.kind !== "websocket") return Promise.reject(new RingcastError("OFFLINE", "no connection"));
		return new Promise((resolve, reject) => {
			this.#requests.set(id, { resolve, reject, due: Date.now() + this.#options.requestTimeout });
			this.#write({ ...message, id });
		});
	}

	/**
	 * Sends for sure: queued while there is no connection, sent again until acknowledged. Resolves with the ACK.
	 * @param {any} data a message of the dialect, or anything else, for the application behind the server
	 * @returns {Promise<void>}
	 */
	send(data) {
		if (this.#outbox.size >= this.#options.queueMax)
			return Promise.reject(new RingcastError("QUEUE_FULL", "too many messages wait"));
		const sent = new Promise((resolve, reject) => {
			this.#put({ id: this.#newId(), data, tries: 0, due: 0, sent: false, resolve: () => resolve(undefined), reject });
		});
		sent.catch(() => {}); // whoever wants to know awaits it
		this.#flush();
		return /** @type {Promise<any>} */ (sent);
	}

	/** @param {Entry} entry */
	#put(entry) {
		this.#outbox.set(entry.id, entry);
		this.#mine.add(entry.id);
		this.#save(entry);
	}

	/** What goes to a room waits until we are in it. */
	#flush() {
		const now = Date.now();
		if (this.#link?.kind !== "websocket" || this.#pausedUntil > now) return;
		let free = Math.floor(this.#windowNow);
		for (const entry of this.#outbox.values()) if (entry.sent) free--;
		for (const entry of this.#outbox.values()) {
			if (free <= 0) return;
			const room = entry.data?.type === "room_message" ? entry.data.room : undefined;
			if (entry.sent || (room !== undefined && !this.#rooms.get(room)?.ready)) continue;
			this.#transmit(entry);
			free--;
		}
	}

	/** @param {Entry} entry */
	#transmit(entry) {
		const { id, data } = entry;
		entry.sent = true;
		entry.due = Date.now() + this.#options.ackTimeout * 2 ** entry.tries++;
		const inner = typeof data?.type === "string" ? { ...data, id } : data;
		this.#write({ type: "DATA", id, data: inner, timestamp: Date.now() });
	}

	/** @param {Entry|undefined} entry @param {RingcastError|null} error */
	#settle(entry, error) {
		if (!entry) return;
		this.#outbox.delete(entry.id);
		this.#unsave(entry);
		if (error) entry.reject(error);
		else entry.resolve();
		this.#flush();
	}

	// ---- what is kept: a name an entry, so that two pages with one store do not write over each other ----

	/** @returns {Storage|undefined} */
	get #store() {
		return this.#options.storage ? (this.#options.store ?? globalThis.localStorage) : undefined;
	}

	/** @param {Entry} entry */
	#save(entry) {
		try {
			this.#store?.setItem(`${this.#options.storage}:${entry.id}`, JSON.stringify({ data: entry.data, at: Date.now() }));
		} catch {
			// Full, or forbidden: it is still sent if this page stays.
		}
	}

	/** @param {Entry} entry */
	#unsave(entry) {
		this.#store?.removeItem(`${this.#options.storage}:${entry.id}`);
	}

	#load() {
		const prefix = `${this.#options.storage}:`, store = this.#store, found = [];
		for (let i = 0; store && i < store.length; i++) {
			const key = store.key(i) ?? "", kept = key.startsWith(prefix) ? parse(store.getItem(key) ?? "") : null;
			if (kept) found.push({ id: key.slice(prefix.length), ...kept });
		}
		const order = (/** @type {any} */ one) => [one.at, Number(one.id.slice(one.id.lastIndexOf("-") + 1))];
		found.sort((a, b) => order(a)[0] - order(b)[0] || order(a)[1] - order(b)[1]);
		for (const { id, data } of found) {
			this.#outbox.set(id, { id, data, tries: 0, due: 0, sent: false, resolve() {}, reject() {} });
			this.#mine.add(id);
		}
	}

	// ---- rooms, people, feeds ----

	/** Enters a room, now and after each new connection. @param {string} name @returns {Promise<void>} */
	join(name) {
		const known = this.#rooms.get(name);
		if (known) return known.joined;
		/** @type {any} */ const room = { name, ready: false, last: undefined, held: [] };
		room.joined = new Promise((resolve, reject) => Object.assign(room, { resolve, reject }));
		room.joined.catch(() => {});
		this.#rooms.set(name, room);
		if (this.#link?.kind === "websocket") this.#enter(room);
		return room.joined;
	}

	/** @param {string} name */
	leave(name) {
		const room = this.#rooms.get(name);
		if (!room) return;
		this.#forget(room, new RingcastError("LEFT", "the room was left"));
		this.#write({ type: "leave_room", room: name });
	}

	/** To the others in a room that was joined. @param {string} room @param {any} content */
	say(room, content) {
		if (!this.#rooms.has(room)) return Promise.reject(new RingcastError("NOT_A_MEMBER", "join the room first"));
		return this.send({ type: "room_message", room, content });
	}

	/** To all devices of a user, or for when one comes. @param {string} to @param {any} content */
	direct(to, content) {
		return this.send({ type: "direct", to, content });
	}

	/** To everybody, where permitted. @param {any} content */
	broadcast(content) {
		return this.send({ type: "broadcast", content });
	}

	/** @param {string} room @returns {Promise<Message>} with `members` and `count` */
	members(room) {
		return this.request({ type: "members", room });
	}

	/** @param {{room?: string, topic?: string, since?: number|string, limit?: number}} what
	 *  @returns {Promise<Message>} with `messages` */
	history(what) {
		return this.request({ type: "history", ...what });
	}

	/**
	 * Follows feeds, now and after each new connection; a trailing * is a pattern.
	 * @param {string|string[]} topics @param {(data: any, update: Message) => void} [handler] for these alone
	 * @param {{since?: number, epoch?: number, last?: boolean, conflate?: boolean}} [how]
	 * @returns {() => void} gives up again
	 */
	subscribe(topics, handler, how = {}) {
		const names = [topics].flat(), fresh = /** @type {Wish[]} */ ([]);
		for (const name of names) {
			let wish = this.#wishes.get(name);
			if (!wish) {
				wish = { name, last: !!how.last, conflate: !!how.conflate, handlers: new Set() };
				this.#wishes.set(name, wish);
				if (how.since !== undefined && !this.#places.has(name)) this.#move(name, how.epoch, how.since, false);
				fresh.push(wish);
			}
			if (handler) wish.handlers.add(handler);
		}
		if (fresh.length) this.#wishesChanged(() => this.#ask(fresh));
		return () => this.unsubscribe(names, handler);
	}

	/** Without a handler, or with the last one, the topic is given up. @param {string|string[]} topics
	 *  @param {(data: any, update: Message) => void} [handler] */
	unsubscribe(topics, handler) {
		const gone = new Set();
		for (const name of [topics].flat()) {
			const wish = this.#wishes.get(name);
			if (!wish || (handler && wish.handlers.delete(handler) && wish.handlers.size)) continue;
			this.#wishes.delete(name);
			gone.add(name);
			for (const known of [...this.#places.keys()]) {
				if (!matches(name, known) || [...this.#wishes.keys()].some(other => matches(other, known))) continue;
				this.#places.delete(known);
				gone.add(known);
			}
		}
		if (gone.size) this.#wishesChanged(() => this.#write({ type: "unsubscribe", topics: [...gone] }));
	}

	/** A stream of events has its topics in its address: another list is another stream. @param {() => void} tell */
	#wishesChanged(tell) {
		if (this.#link?.kind === "websocket") tell();
		else if (this.#link) {
			this.#eventId = "";
			this.#drop();
			this.#attempt(++this.#turn);
		}
	}
}

export default Ringcast;
