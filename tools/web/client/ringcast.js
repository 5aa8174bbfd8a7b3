// SPDX-License-Identifier: MIT
/**
 * ringcast.js - a client of `ringcast app`, for browsers and for Node (18 and newer). It depends on nothing. In a Node
 * without a WebSocket of its own it takes npm's package `ws`.
 *
 *      const client = new Ringcast("wss://example.org/ws/alice", { storage: "chat" });
 *      client.on("room_message", message => show(message.from, message.content));
 *      await client.join("lobby");
 *      await client.say("lobby", "hello");              // resolves when the server has it
 *      client.subscribe("prices/*", (data, update) => draw(update.topic, data));
 *      const book = client.keyed("book/ACME");          // book.map is the state of the topic, right at every moment
 *      book.on("change", ({ key, value }) => show(key, value));
 *      const pool = new Ringcast.Pool({ url: "wss://example.org/ws", max: 5, min: 1 });
 *      const lent = await pool.acquire();               // a client that is connected, until pool.release(lent)
 *
 * In a classic script, `<script src="https://example.org/ringcast.min.js">`, it is the global `Ringcast`.
 *
 * What it promises, over any number of connections:
 *   - A message given to send() and its kin goes out as soon as the server can be reached. It goes again until the server
 *     acknowledges it, always with the same id.
 *   - What comes in is handed to its handlers once, and in order. Rooms and feeds go on from where they stopped.
 *   - A gap that nobody can fill is told as a message of type "gap".
 *   - The Map of a keyed feed is the topic's state behind one update: never half of it, and never with something missing.
 *
 * When no WebSocket gets through but HTTP does, feeds (and only they) come as server-sent events, or by long polling:
 *   GET /sse/TOPIC[,TOPIC...]   The data of each event is a message of the dialect (update, gap, subscribed). The id of
 *                               the last event comes back as Last-Event-ID.
 *   GET /poll/TOPIC[,TOPIC...]  The answer is {"messages":[...], "topics":[{"topic","seq","epoch"}...]}, or 204 where there
 *                               is no message.
 * Both take ?since=SEQ[,SEQ...]&epoch=EPOCH[,EPOCH...], in the order of the topics, empty where nothing is known yet.
 */
/** @import { Options, Settings } from "./options.js" */
/** @import { Link, Listener, Message, State, Transport } from "./types.js" */
/** @import { Handler } from "./handlers.js" */
/** @import { UpdateHandler } from "./feeds.js" */
/** @import { KeyedHow } from "./states.js" */
/** @import { PoolOptions } from "./pool.js" */
import { Connection } from "./connection.js";
import { Events } from "./events.js";
import { Feeds } from "./feeds.js";
import { Handlers } from "./handlers.js";
import { Keyed } from "./keyed.js";
import { EventsLink, PollLink, SocketLink } from "./links.js";
import { DEFAULTS } from "./options.js";
import { Outbox } from "./outbox.js";
import { PoolOf } from "./pool.js";
import { Requests } from "./requests.js";
import { Rooms } from "./rooms.js";
import { findWebSocket } from "./sockets.js";
import { States } from "./states.js";
import { Ids, Memory, RingcastError } from "./values.js";

/**
 * A bounded number of clients of one server, each lent to one borrower at a time. Those that break are replaced.
 * @extends {PoolOf<Ringcast>}
 */
export class Pool extends PoolOf {
	/** @param {PoolOptions & {url?: string|URL, options?: Options}} options `url` of the WebSocket: in a page, without it, /ws
	 *  there; `options` of each client */
	constructor({ url = "/ws", options, ...more }) {
		super(more, () => new Ringcast(url, options));
	}
}

/** The client: it ties the parts together, and gives each message that comes to the part that it concerns. */
export class Ringcast {
	/** @type {Settings} */ #options;
	/** @type {URL} */ #address;
	#userId = "";
	#seen = new Memory();
	#handlers = new Handlers();
	/** @type {Connection} */ #connection;
	/** @type {Requests} */ #requests;
	/** @type {Outbox} */ #outbox;
	/** @type {Rooms} */ #rooms;
	/** @type {Feeds} */ #feeds;
	/** @type {States} */ #states;
	#events = new Events(event => this.#handlers.tell(event, event.type));

	/** @param {string|URL} address of the WebSocket: wss://HOST/ws/USER @param {Options} [options] */
	constructor(address, options = {}) {
		this.#options = { ...DEFAULTS, ...options };
		const base = typeof location === "undefined" ? undefined : location.href;
		this.#address = new URL(address, base);
		this.#address.protocol = this.#address.protocol.replace(/^http/, "ws");
		if (this.#options.reliable) this.#address.searchParams.set("reliable", "1");
		this.#address.searchParams.set("refusals", "1"); // a page sees why, and not only that it was refused
		const ids = new Ids();
		const request = (/** @type {Message} */ message) => this.request(message);
		const emit = (/** @type {Message} */ message) => this.#handlers.emitHeard(message);
		this.#connection = new Connection(this.#options, {
			dial: (kind, listener) => this.#dial(kind, listener),
			hasFeeds: () => this.#feeds.size > 0,
			welcomed: message => this.#welcomed(message),
			opened: () => this.#opened(),
			heard: message => this.#hear(message),
			ticked: now => this.#ticked(now),
			dropped: () => this.#dropped(),
			changed: event => this.#changed(event),
			known: () => this.#userId !== "",
			refused: why => emit({ type: "refused", ...why }),
		});
		this.#requests = new Requests(this.#options, this.#connection, ids);
		this.#outbox = new Outbox(this.#options, this.#connection, ids, data => this.#mayGo(data));
		this.#rooms = new Rooms(this.#connection, {
			request, emit,
			isNew: message => this.#isNew(message),
			entered: () => this.#outbox.flush(),
			left: (name, error) => this.#outbox.giveUp(data => data?.type === "room_message" && data.room === name, error),
		});
		this.#feeds = new Feeds(this.#options, this.#address, this.#connection, { request, emit });
		this.#states = new States(this.#connection, request);
		this.connect();
	}

	/** So that a classic script, which has one name, has all of them. */
	static get Pool() {
		return Pool;
	}

	static get RingcastError() {
		return RingcastError;
	}

	/** @returns {State} */
	get state() {
		return this.#connection.state;
	}

	/** What is in use while the state is "open". @returns {Transport|null} */
	get transport() {
		return this.#connection.transport;
	}

	/** Who we are, as the server sees it. */
	get userId() {
		return this.#userId;
	}

	/** How many messages are not yet acknowledged. */
	get queued() {
		return this.#outbox.size;
	}

	/**
	 * Handles the messages of a type; "*" stands for all types. Four types are made here: "state" (on each change, with
	 * `state`, `transport`, `tries`, `delay`, `code`, `reason`), "latency" (`ms` to the server and back), some of "gap", and
	 * "refused" (`code`, `reason`): the server will not have us, and the state is "failed" until connect(). Its code is 3401
	 * (the token), 3403 (the origin, the name, a right) or 1008; join() is rejected then, with REFUSED and the words.
	 * @param {string} type @param {Handler} handler @returns {() => void} takes it away again
	 */
	on(type, handler) {
		return this.#handlers.add(type, handler);
	}

	/** @param {string} type @param {Handler} [handler] without it, all of the type */
	off(type, handler) {
		this.#handlers.remove(type, handler);
	}

	/** Handles the next message of a type, and none after it. @param {string} type @param {Handler} handler
	 *  @returns {() => void} takes it away again */
	once(type, handler) {
		const off = this.on(type, message => {
			off();
			handler(message);
		});
		return off;
	}

	// ---- the names that tutorials use ----

	/** As on(). @param {string} type @param {Handler} handler */
	registerHandler(type, handler) {
		return this.on(type, handler);
	}

	/** As on(). @param {string} type @param {Handler} handler */
	addEventListener(type, handler) {
		this.on(type, handler);
	}

	/** As off(). @param {string} type @param {Handler} handler */
	removeEventListener(type, handler) {
		this.off(type, handler);
	}

	/** There is a connection. @param {Handler} handler */
	onOpen(handler) {
		return this.on("open", handler);
	}

	/** There is none any more: `code`, `reason`. @param {Handler} handler */
	onClose(handler) {
		return this.on("close", handler);
	}

	/** Whatever the server says, parsed. @param {Handler} handler */
	onMessage(handler) {
		return this.on("message", handler);
	}

	/** What the server refused, with its `code` and `message`; or that no try to connect comes any more. @param {Handler} handler */
	onError(handler) {
		return this.on("error", handler);
	}

	/** The next try comes in `delay` ms; it is number `attempt`. @param {Handler} handler */
	onReconnecting(handler) {
		return this.on("reconnecting", handler);
	}

	/** Whether messages can go out now. */
	get isConnected() {
		return this.#connection.ready;
	}

	/** As join(). @param {string} room */
	joinRoom(room) {
		return this.join(room);
	}

	/** As leave(). @param {string} room */
	leaveRoom(room) {
		this.leave(room);
	}

	/** As say(). @param {string} room @param {any} content */
	sendToRoom(room, content) {
		return this.say(room, content);
	}

	/** As close(). */
	disconnect() {
		this.close();
	}

	// ---- ours ----

	/** Tries now. The constructor calls it. Call it after "failed" or "closed", or to shorten a wait. */
	connect() {
		this.#connection.connect();
	}

	/** Ends for good, or until connect(). Messages that are not yet acknowledged are kept. */
	close(code = 1000, reason = "") {
		this.#connection.close(code, reason);
	}

	/** As if it were new, but connected: leaves all rooms, gives up all feeds, and forgets all handlers. */
	reset() {
		this.#rooms.reset();
		this.#states.reset();
		this.#feeds.reset();
		this.#handlers.clear();
	}

	/** Sends now, and resolves with the answer that has its id. It is not queued. @param {Message} message
	 *  @returns {Promise<Message>} */
	request(message) {
		return this.#requests.send(message);
	}

	/**
	 * Sends for sure: the message waits while there is no connection, and goes again until it is acknowledged. Resolves with
	 * the ACK.
	 * @param {any} data a message of the dialect, or anything else, for the application behind the server
	 * @returns {Promise<void>}
	 */
	send(data) {
		return this.#outbox.send(data);
	}

	/** Sends now, once, or not at all: for what is old in a moment, as a cursor, or that somebody types. @param {Message} message
	 *  @returns {boolean} whether it went out */
	sendNow(message) {
		const { ready } = this.#connection;
		if (ready) this.#connection.write(message);
		return ready;
	}

	/** Enters a room, now and after each new connection. @param {string} name @returns {Promise<void>} */
	join(name) {
		return this.#rooms.join(name);
	}

	/** @param {string} name */
	leave(name) {
		this.#rooms.leave(name);
	}

	/** Speaks to the others in a room that was joined. @param {string} room @param {any} content */
	say(room, content) {
		if (!this.#rooms.has(room)) return Promise.reject(new RingcastError("NOT_A_MEMBER", "join the room first"));
		return this.send({ type: "room_message", room, content });
	}

	/** Sends to all devices of a user; the message waits where there is none. @param {string} to @param {any} content */
	direct(to, content) {
		return this.send({ type: "direct", to, content });
	}

	/** Sends to everybody, where that is permitted. @param {any} content */
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
	 * Follows feeds, now and after each new connection; a trailing * makes a pattern.
	 * @param {string|string[]} topics @param {UpdateHandler} [handler] for these alone
	 * @param {{since?: number, epoch?: number, last?: boolean, conflate?: boolean}} [how]
	 * @returns {() => void} gives up again
	 */
	subscribe(topics, handler, how = {}) {
		const names = [topics].flat();
		this.#feeds.subscribe(names, handler, how);
		return () => this.unsubscribe(names, handler);
	}

	/**
	 * Follows a topic whose updates have keys, now and after each new connection: what it returns has the newest data of each
	 * key as `map`, "change" and "resync" to handle, and `gaps`, which counts what was really lost. It needs a WebSocket. A
	 * topic is followed so, or by subscribe(), and not both.
	 * @param {string} topic @param {KeyedHow} [how] @returns {Keyed}
	 */
	keyed(topic, how = {}) {
		return this.#states.open(topic, how);
	}

	/** Takes the handler away. Without a handler, or with the last one, the topic is given up, and a keyed one always.
	 *  @param {string|string[]} topics @param {UpdateHandler} [handler] */
	unsubscribe(topics, handler) {
		for (const topic of [topics].flat()) this.#states.close(topic);
		this.#feeds.unsubscribe([topics].flat(), handler);
	}

	// ---- the connection ----

	/** @param {Transport} kind @param {Listener} listener @returns {Promise<Link>} */
	async #dial(kind, listener) {
		const token = await this.#token();
		if (kind === "websocket") {
			const make = this.#options.WebSocket ?? (await findWebSocket());
			return new SocketLink(make, this.#address.href, token ? ["ringcast.json", token] : ["ringcast.json"], listener);
		}
		/** @type {Record<string, string>} */
		const headers = token ? { Authorization: `Bearer ${token}` } : {};
		if (kind === "poll") {
			let turns = 0;
			return new PollLink(() => this.#feeds.address("poll", turns++ > 0), headers, listener);
		}
		if (this.#feeds.eventId) headers["Last-Event-ID"] = this.#feeds.eventId;
		return new EventsLink(this.#feeds.address("sse"), headers, listener, id => void (this.#feeds.eventId = id));
	}

	async #token() {
		const token = this.#options.token;
		return typeof token === "function" ? token() : token;
	}

	#opened() {
		this.#outbox.unpause();
		if (!this.#connection.ready) return this.#rooms.abandon();
		// A server that could not be shown the token does not know us yet.
		if (!this.#userId && this.#options.token) this.#authenticate().catch(() => {});
		else this.#resume();
	}

	async #authenticate() {
		const token = await this.#token();
		if (token) await this.request({ type: "auth", token });
	}

	#resume() {
		if (this.#options.batch) this.#connection.write({ type: "batching", ...this.#options.batch });
		this.#rooms.resume();
		this.#feeds.resume();
		this.#states.resume();
		this.#outbox.flush();
	}

	/** @param {Message} event */
	#changed(event) {
		const { state, reason, permanent } = event;
		if (state === "failed" || state === "closed")
			this.#rooms.abandon(new RingcastError(permanent ? "REFUSED" : "OFFLINE", reason || `the connection is ${state}`));
		this.#handlers.emit(event);
		this.#events.heard(event);
	}

	/** @param {number} now */
	#ticked(now) {
		this.#requests.expire(now);
		this.#outbox.tick(now);
		this.#states.tick(now);
	}

	#dropped() {
		this.#outbox.dropped();
		this.#rooms.dropped();
		this.#requests.dropped();
	}

	/** The next connection says which one was before it: so the server counts it as one that came back.
	 *  @param {Message} message */
	#welcomed(message) {
		this.#userId = message.userId ?? "";
		if (message.clientId) this.#address.searchParams.set("client", message.clientId);
	}

	/** What goes to a room waits until we are in it. @param {any} data */
	#mayGo(data) {
		return data?.type !== "room_message" || data.room === undefined || this.#rooms.isReady(data.room);
	}

	// ---- what comes ----

	/** @param {Message} message */
	#hear(message) {
		if (this.#states.heard(message)) return;
		switch (message.type) {
		case "batch":
			for (const each of message.messages ?? []) this.#hear(each);
			return;
		case "ACK":
			return this.#outbox.acknowledged(message.data?.messageId);
		case "DATA":
			this.#connection.write({ type: "ACK", data: { messageId: message.id } });
			if (this.#seen.add(`DATA ${message.id}`) && message.data?.type) this.#hear(message.data);
			return;
		case "pong":
			if (typeof message.timestamp === "number")
				this.#handlers.emit({ type: "latency", ms: performance.now() - message.timestamp });
			break;
		case "update":
			return this.#feeds.heardUpdate(message);
		case "gap":
			this.#feeds.heardGap(message);
			break;
		case "subscribed":
			this.#feeds.heardSubscribed((message.topics ?? []).filter((/** @type {any} */ each) => !this.#states.has(each.topic)));
			break;
		case "unsubscribed":
			if (!message.code) break;
			this.#feeds.refused(message.topics ?? []);
			this.#states.refused(message.topics ?? []);
			break;
		case "room_message":
			return this.#rooms.heard(message);
		case "direct":
		case "broadcast":
			if (!this.#isNew(message)) return;
			break;
		case "auth_success":
			this.#outbox.unpause();
			if (!this.#userId) queueMicrotask(() => this.#resume());
			this.#userId = message.userId;
			break;
		case "auth_expired":
			this.#authenticate().catch(() => {});
			break;
		case "going_away":
			this.#connection.waitNext(message.reconnectAfter);
			break;
		case "error":
			if (this.#outbox.refused(message)) return;
			break;
		}
		this.#requests.answer(message);
		this.#handlers.emitHeard(message);
	}

	/**
	 * By the server's id, and by what its sender called it: when a server dies, its client sends again to another server,
	 * which gives the message another id.
	 * @param {Message} message
	 */
	#isNew(message) {
		if (message.ref !== undefined && message.from === this.#userId && this.#outbox.isMine(message.ref)) return false;
		const fresh = message.id === undefined || this.#seen.add(`${message.type} ${message.id}`);
		return (message.ref === undefined || this.#seen.add(`${message.from} ${message.ref}`)) && fresh;
	}
}

export { Keyed, RingcastError };
export default Ringcast;
