// SPDX-License-Identifier: MIT
/**
 * store.js - the waiting messages in localStorage, or in a store that the application gives. It knows their ids and their
 * data, and not what becomes of them. Each message has a name of its own, so two pages with one store do not write over
 * each other. Without the option `storage` it does nothing.
 */
/** @import { Keeping, Settings } from "./options.js" */
import { parse } from "./values.js";

export class Store {
	#options;

	/** @param {Settings} options */
	constructor(options) {
		this.#options = options;
	}

	/** @returns {Keeping|undefined} */
	get #storage() {
		return this.#options.storage ? (this.#options.store ?? globalThis.localStorage) : undefined;
	}

	/** @param {string} id */
	#name(id) {
		return `${this.#options.storage}:${id}`;
	}

	/** @param {string} id @param {any} data */
	save(id, data) {
		try {
			this.#storage?.setItem(this.#name(id), JSON.stringify({ data, at: Date.now() }));
		} catch {
			// The storage is full or forbidden. The message is still sent if this page stays open.
		}
	}

	/** @param {string} id */
	remove(id) {
		this.#storage?.removeItem(this.#name(id));
	}

	/** @returns {{id: string, data: any}[]} what an earlier page left, oldest first */
	load() {
		const prefix = this.#name(""), storage = this.#storage, found = [];
		for (let i = 0; storage && i < storage.length; i++) {
			const key = storage.key(i) ?? "", kept = key.startsWith(prefix) ? parse(storage.getItem(key) ?? "") : null;
			if (kept) found.push({ id: key.slice(prefix.length), ...kept });
		}
		// Of two that were kept in one millisecond, the one with the lower number in its id is the older.
		const count = (/** @type {{id: string}} */ one) => Number(one.id.slice(one.id.lastIndexOf("-") + 1));
		return found.sort((a, b) => a.at - b.at || count(a) - count(b));
	}
}
