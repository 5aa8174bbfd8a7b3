// SPDX-License-Identifier: MIT
/**
 * requests.js - messages whose sender waits for the answer with the same id. A request is never queued and never sent
 * again: it ends with its answer, with its time, or with the connection. It must not know what is asked for.
 */
/** @import { Settings } from "./options.js" */
/** @import { Message, Wire } from "./types.js" */
/** @import { Ids } from "./values.js" */
import { RingcastError } from "./values.js";

export class Requests {
	/** @type {Map<string, {resolve: (answer: Message) => void, reject: (error: RingcastError) => void, due: number}>} */
	#waiting = new Map();
	#options;
	#wire;
	#ids;

	/** @param {Settings} options @param {Wire} wire @param {Ids} ids */
	constructor(options, wire, ids) {
		this.#options = options;
		this.#wire = wire;
		this.#ids = ids;
	}

	/** @param {Message} message @returns {Promise<Message>} */
	send(message) {
		const id = message.id ?? this.#ids.next();
		if (!this.#wire.ready) return Promise.reject(new RingcastError("OFFLINE", "there is no connection"));
		return new Promise((resolve, reject) => {
			this.#waiting.set(id, { resolve, reject, due: Date.now() + this.#options.requestTimeout });
			this.#wire.write({ ...message, id });
		});
	}

	/** @param {Message} message one that may be an answer */
	answer(message) {
		const request = this.#waiting.get(message.id);
		// The ids of these are the server's own.
		if (!request || message.type === "room_message" || message.type === "direct") return;
		this.#waiting.delete(message.id);
		if (message.type === "error") request.reject(new RingcastError(message.code, message.message));
		else request.resolve(message);
	}

	/** @param {number} now */
	expire(now) {
		for (const [id, request] of this.#waiting) {
			if (request.due > now) continue;
			this.#waiting.delete(id);
			request.reject(new RingcastError("TIMEOUT", "no answer came in time"));
		}
	}

	/** The connection is gone, and every answer with it. */
	dropped() {
		const all = [...this.#waiting.values()];
		this.#waiting.clear();
		for (const request of all) request.reject(new RingcastError("OFFLINE", "the connection was lost"));
	}
}
