// SPDX-License-Identifier: MIT
/**
 * handlers.js - the application's functions, by the type of message that they handle. It knows no type but two that stand for
 * others: "*" for all of them, and "message" for all that the server says. A handler that throws never ends its caller.
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

	/** @param {string} type @param {Handler} [handler] without it, all of the type */
	remove(type, handler) {
		if (handler) this.#byType.get(type)?.delete(handler);
		else this.#byType.delete(type);
	}

	clear() {
		this.#byType.clear();
	}

	/** @param {Message} message */
	emit(message) {
		this.tell(message, message.type, "*");
	}

	/** Something that the server said. @param {Message} message */
	emitHeard(message) {
		this.tell(message, message.type, "message", "*");
	}

	/** Calls the handlers of these types, and each once. @param {Message} message @param {...string} types */
	tell(message, ...types) {
		for (const handler of new Set(types.flatMap(type => [...(this.#byType.get(type) ?? [])])))
			callHandler(() => handler(message));
	}
}
