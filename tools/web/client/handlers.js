// SPDX-License-Identifier: MIT
/**
 * handlers.js - the application's functions, by the type of message that they handle. It knows no type but "*", which
 * stands for all of them. A handler that throws never ends its caller.
 */
/** @import { Message } from "./types.js" */

/** @typedef {(message: any) => void} Handler */

/** Calls a function of the application. Its error is reported; whoever called it goes on. @param {() => void} handler */
export function callHandler(handler) {
	try {
		handler();
	} catch (error) {
		(globalThis.reportError ?? console.error)(error);
	}
}

export class Handlers {
	/** @type {Map<string, Set<Handler>>} */ #byType = new Map();

	/** @param {string} type @param {Handler} handler @returns {() => void} takes it away again */
	add(type, handler) {
		const all = this.#byType.get(type) ?? new Set();
		this.#byType.set(type, all.add(handler));
		return () => void all.delete(handler);
	}

	/** @param {Message} message */
	emit(message) {
		for (const handler of [...(this.#byType.get(message.type) ?? []), ...(this.#byType.get("*") ?? [])])
			callHandler(() => handler(message));
	}
}
