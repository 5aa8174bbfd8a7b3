// SPDX-License-Identifier: MIT
/**
 * pool.js - a bounded number of clients, lent to one borrower at a time. It must not know how a client connects: it sees its
 * state, and a function makes the clients.
 *
 * Invariant: a client is lent to one borrower or to none, and there are never more than `max`.
 */
import { RingcastError } from "./values.js";

/**
 * @typedef {object} PoolOptions
 * @property {number} [max] at most so many connections. The server counts them for their user and address
 * @property {number} [min] so many are kept, lent or not
 * @property {number} [acquireTimeout] ms that acquire() waits, if it does not say
 * @property {number} [idleTimeout] ms after which one that nobody borrows is closed, where there are more than `min`
 *
 * @typedef {{total: number, open: number, idle: number, busy: number, waiting: number, replaced: number, max: number,
 *   min: number, healthy: boolean}} PoolHealth `idle` are open and not lent, `busy` are lent, `waiting` are calls of acquire();
 *   `replaced` counts those that broke; `healthy`: `min` are open, and nobody waits for want of another
 */

const AGAIN_MS = 1_000; // before another is made in place of one that broke; so much more each time
const AGAIN_MAX_MS = 30_000;

/** @template {{state: string, on: Function, close: Function, reset: Function}} Client */
export class PoolOf {
	/** @type {Set<Client>} */ #lent = new Set();
	/** @type {Map<Client, any>} */ #free = new Map(); // each with the timer that closes it
	/** @type {Set<(client?: Client) => void>} */ #waiting = new Set();
	#replaced = 0;
	#failures = 0; // since one opened
	#why = "";
	#closed = false;
	/** @type {any} */ #again;
	#options;
	#make;

	/** @param {PoolOptions} options @param {() => Client} make */
	constructor(options, make) {
		this.#options = { max: 5, min: 1, acquireTimeout: 10_000, idleTimeout: 30_000, ...options };
		this.#make = make;
		if (!(this.#options.max >= Math.max(this.#options.min, 1))) throw new RangeError("max is 1 at least, and not below min");
		this.#fill();
	}

	/** Borrows a client that is connected. It waits while all are out; first come, first served. @param {number} [timeout] ms
	 *  @returns {Promise<Client>} */
	acquire(timeout = this.#options.acquireTimeout) {
		return new Promise((resolve, reject) => {
			const one = (/** @type {Client|undefined} */ client) => {
				clearTimeout(timer);
				this.#waiting.delete(one);
				if (client) resolve(client);
				else reject(new RingcastError(this.#closed ? "CLOSED" : "TIMEOUT", `no connection came free ${this.#why}`));
			};
			const timer = setTimeout(one, this.#closed ? 0 : timeout);
			this.#waiting.add(one);
			this.#fill();
		});
	}

	/** Gives a client back. It loses its rooms, feeds and handlers. @param {Client} client
	 *  @returns {boolean} false: it was not lent */
	release(client) {
		if (!this.#lent.delete(client)) return false;
		client.reset();
		this.#keep(client);
		this.#judge(client, "");
		return true;
	}

	/** @returns {PoolHealth} */
	health() {
		const all = [...this.#lent, ...this.#free.keys()], open = all.filter(isOpen).length, { max, min } = this.#options;
		const busy = this.#lent.size, waiting = this.#waiting.size;
		return {
			total: all.length, open, idle: [...this.#free.keys()].filter(isOpen).length, busy, waiting,
			replaced: this.#replaced, max, min, healthy: open >= min && (!waiting || busy === max),
		};
	}

	/** Closes all clients, those that are lent too. */
	close() {
		this.#closed = true;
		clearTimeout(this.#again);
		for (const one of this.#waiting) one();
		for (const client of [...this.#lent, ...this.#free.keys()]) this.#drop(client);
	}

	/** Lends what is free, and makes what is missing. */
	#fill() {
		if (this.#closed) return;
		for (const client of this.#free.keys()) {
			const [one] = this.#waiting;
			if (!one || !isOpen(client)) continue;
			this.#forget(client);
			this.#lent.add(client);
			one(client);
		}
		const { max, min } = this.#options, total = this.#lent.size + this.#free.size;
		const coming = [...this.#free.keys()].filter(client => !isOpen(client)).length;
		for (let missing = Math.min(max, Math.max(min, total - coming + this.#waiting.size)) - total; missing > 0; missing--)
			this.#keep(this.#make());
	}

	/** Nobody has it. @param {Client} client */
	#keep(client) {
		client.on("state", (/** @type {any} */ event) => this.#judge(client, event.reason));
		this.#free.set(client, setTimeout(() => {
			if (this.#lent.size + this.#free.size > this.#options.min) this.#drop(client);
			this.#fill();
		}, this.#options.idleTimeout));
	}

	/** @param {Client} client @param {string} reason */
	#judge(client, reason) {
		if (isOpen(client)) {
			this.#failures = 0;
			this.#why = "";
			this.#fill();
		} else if (/failed|closed/.test(client.state) && this.#free.has(client)) {
			this.#drop(client);
			this.#replaced++;
			// What the server refuses it refuses again: so another comes later and later.
			this.#why = reason;
			clearTimeout(this.#again);
			this.#again = setTimeout(() => this.#fill(), Math.min(AGAIN_MAX_MS, AGAIN_MS * this.#failures++));
		}
	}

	/** @param {Client} client */
	#forget(client) {
		clearTimeout(this.#free.get(client));
		this.#free.delete(client);
		this.#lent.delete(client);
	}

	/** @param {Client} client */
	#drop(client) {
		this.#forget(client);
		client.close();
	}
}

/** @param {{state: string}} client */
function isOpen(client) {
	return client.state === "open";
}
