// SPDX-License-Identifier: MIT
/**
 * values.js - small values that every other module may use: the error, ids, a memory of ids, JSON that may be wrong. It
 * knows nothing of messages or connections.
 */
const REMEMBERED_MAX = 4_096;

/** `code` is the server's, or one of OFFLINE, TIMEOUT, QUEUE_FULL, NOT_ACKNOWLEDGED, NOT_A_MEMBER, LEFT, NO_WEBSOCKET,
 *  FEEDS_ONLY, CLOSED. */
export class RingcastError extends Error {
	/** @param {string} code @param {string} words */
	constructor(code, words) {
		super(words);
		this.name = "RingcastError";
		this.code = code;
	}
}

/** Ids that no other client makes. */
export class Ids {
	#prefix = Date.now().toString(36) + Math.random().toString(36).slice(2);
	#count = 0;

	next() {
		return `${this.#prefix}-${++this.#count}`;
	}
}

/** A set that forgets its oldest items. It never holds more than REMEMBERED_MAX. */
export class Memory {
	#items = new Set();

	/** @param {string} item @returns {boolean} whether it is new */
	add(item) {
		if (this.#items.has(item)) return false;
		this.#items.add(item);
		if (this.#items.size > REMEMBERED_MAX) this.#items.delete(this.#items.values().next().value);
		return true;
	}

	/** @param {string} item */
	has(item) {
		return this.#items.has(item);
	}
}

/** @param {string} text @returns {any} null where the text is not JSON */
export function parse(text) {
	try {
		return JSON.parse(text);
	} catch {
		return null;
	}
}
