// SPDX-License-Identifier: MIT
/**
 * outbox.js - messages that go out for sure: each waits for a connection, goes out in order, and goes again under the same
 * id until the server acknowledges it. It must not know what a message says; whether one may go now, a function tells it.
 *
 * Invariant: an entry is in the outbox, and in the store, from send() until it is settled.
 */
/** @import { Settings } from "./options.js" */
/** @import { Message, Wire } from "./types.js" */
/** @import { Ids } from "./values.js" */
import { Store } from "./store.js";
import { Memory, RingcastError } from "./values.js";

/**
 * @typedef {{id: string, data: any, tries: number, due: number, sent: boolean, resolve: () => void,
 *   reject: (error: RingcastError) => void}} Entry `sent` is on this connection; `due` is when it is sent again
 */

const OVERLOAD_PAUSE_MS = 1_000; // after the server said that it was too much

export class Outbox {
	/** @type {Map<string, Entry>} */ #entries = new Map();
	#mine = new Memory();
	#pausedUntil = 0;
	#windowNow;
	#options;
	#wire;
	#ids;
	#mayGo;
	#store;

	/** @param {Settings} options @param {Wire} wire @param {Ids} ids
	 *  @param {(data: any) => boolean} mayGo whether the server would take this message now */
	constructor(options, wire, ids, mayGo) {
		this.#options = options;
		this.#wire = wire;
		this.#ids = ids;
		this.#mayGo = mayGo;
		this.#windowNow = options.window;
		this.#store = new Store(options);
		for (const { id, data } of this.#store.load()) {
			this.#entries.set(id, { id, data, tries: 0, due: 0, sent: false, resolve() {}, reject() {} });
			this.#mine.add(id);
		}
	}

	get size() {
		return this.#entries.size;
	}

	/** Whether a message of this id came from here. @param {string} id */
	isMine(id) {
		return this.#mine.has(id);
	}

	/** @param {any} data @returns {Promise<void>} resolves with the ACK */
	send(data) {
		if (this.#entries.size >= this.#options.queueMax)
			return Promise.reject(new RingcastError("QUEUE_FULL", "too many messages are waiting"));
		const sent = new Promise((resolve, reject) => {
			this.#put({ id: this.#ids.next(), data, tries: 0, due: 0, sent: false, resolve: () => resolve(undefined), reject });
		});
		sent.catch(() => {}); // a caller who does not await it does not want to know
		this.flush();
		return /** @type {Promise<any>} */ (sent);
	}

	/** @param {Entry} entry */
	#put(entry) {
		this.#entries.set(entry.id, entry);
		this.#mine.add(entry.id);
		this.#store.save(entry.id, entry.data);
	}

	/** @param {Entry} entry */
	#take(entry) {
		this.#entries.delete(entry.id);
		this.#store.remove(entry.id);
	}

	/** Sends what may go, as far as the window allows. */
	flush() {
		if (!this.#wire.ready || this.#pausedUntil > Date.now()) return;
		let free = Math.floor(this.#windowNow);
		for (const entry of this.#entries.values()) if (entry.sent) free--;
		for (const entry of this.#entries.values()) {
			if (free <= 0) return;
			if (entry.sent || !this.#mayGo(entry.data)) continue;
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
		this.#wire.write({ type: "DATA", id, data: inner, timestamp: Date.now() });
	}

	/** @param {Entry|undefined} entry @param {RingcastError|null} error */
	#settle(entry, error) {
		if (!entry) return;
		this.#take(entry);
		if (error) entry.reject(error);
		else entry.resolve();
		this.flush();
	}

	/** @param {string} id */
	acknowledged(id) {
		this.#windowNow = Math.min(this.#options.window, this.#windowNow + 1 / this.#windowNow);
		this.#settle(this.#entries.get(id), null);
	}

	/** @param {number} now */
	tick(now) {
		for (const entry of this.#entries.values()) {
			if (!entry.sent || entry.due > now || this.#pausedUntil > now) continue;
			if (entry.tries > this.#options.resendMax)
				this.#settle(entry, new RingcastError("NOT_ACKNOWLEDGED", `it was sent ${entry.tries} times without an ACK`));
			else this.#transmit(entry);
		}
		this.flush();
	}

	/** @param {Message} message an error @returns {boolean} whether the message that it is about goes again */
	refused(message) {
		const entry = this.#entries.get(message.id);
		if (message.code === "RATE_LIMIT_EXCEEDED") this.#slowDown();
		if (!entry) return false;
		if (message.code === "AUTH_REQUIRED") {
			entry.sent = false;
			this.#pausedUntil = Infinity; // until the server knows us
		} else if (message.code === "TRY_LATER") {
			// The server acknowledged it without publishing it. Under its old id it would count as a duplicate.
			this.#take(entry);
			this.#put({ ...entry, id: this.#ids.next(), sent: false, tries: 0 });
			this.#pausedUntil = Date.now() + OVERLOAD_PAUSE_MS;
		} else {
			this.#settle(entry, new RingcastError(message.code, message.message));
			return false;
		}
		return true;
	}

	/** The server does not say which messages were too many. So all that are under way go again later, fewer at once. */
	#slowDown() {
		const now = Date.now();
		if (this.#pausedUntil <= now) this.#windowNow = Math.max(1, this.#windowNow / 2);
		this.#pausedUntil = Math.max(this.#pausedUntil, now + OVERLOAD_PAUSE_MS);
		this.#unsend();
	}

	#unsend() {
		for (const entry of this.#entries.values()) Object.assign(entry, { sent: false, tries: 0 });
	}

	/** What the server said before about waiting no longer holds. */
	unpause() {
		this.#pausedUntil = 0;
	}

	/** The connection is gone: all that is not acknowledged goes again on the next. */
	dropped() {
		this.#unsend();
	}

	/** Gives up the messages that can never go. @param {(data: any) => boolean} isOne @param {RingcastError} error */
	giveUp(isOne, error) {
		for (const entry of [...this.#entries.values()]) if (isOne(entry.data)) this.#settle(entry, error);
	}
}
