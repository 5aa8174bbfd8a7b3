// SPDX-License-Identifier: MIT
/**
 * events.js - what happens to a connection, by the names that tutorials and other clients have for it. It is told each state,
 * and knows nothing else of the connection.
 *
 * Invariant: "open" and "close" come in turn, beginning with "open".
 *
 *      open, connect, connected             there is a connection
 *      reconnected                          there is one again; after the three above
 *      close, disconnect, disconnected      there is none any more; has `code` and `reason`
 *      reconnecting                         the next try comes in `delay` ms; has `attempt`, `code` and `reason`
 *      failed, reconnect_failed, error      no try comes any more: `code` and `reason`
 *      message                              each message of the server; handlers.js makes it
 */
/** @import { Message } from "./types.js" */

const OPENED = ["open", "connect", "connected"];
const CLOSED = ["close", "disconnect", "disconnected"];
const FAILED = ["failed", "reconnect_failed", "error"];

export class Events {
	#isOpen = false;
	#wasOpen = false;
	#tell;

	/** @param {(message: Message) => void} tell */
	constructor(tell) {
		this.#tell = tell;
	}

	/** @param {Message} event of type "state" */
	heard(event) {
		const { state } = event;
		if (state === "open" && !this.#isOpen) {
			const names = this.#wasOpen ? [...OPENED, "reconnected"] : OPENED;
			this.#isOpen = this.#wasOpen = true;
			this.#all(names, event);
		} else if (state !== "open" && state !== "connecting" && this.#isOpen) {
			this.#isOpen = false;
			this.#all(CLOSED, event);
		}
		if (state === "waiting") this.#all(["reconnecting"], event);
		if (state === "failed") this.#all(FAILED, event);
	}

	/** @param {string[]} names @param {Message} event */
	#all(names, event) {
		for (const type of names) this.#tell({ message: event.reason, attempt: event.tries, ...event, type });
	}
}
