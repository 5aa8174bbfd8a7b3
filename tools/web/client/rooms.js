// SPDX-License-Identifier: MIT
/**
 * rooms.js - the rooms that were joined. Each is entered anew on each connection, and what was said meanwhile comes before
 * what is said now. It must not know how messages are sent or queued; its owner does both.
 *
 * Invariant: a room hears its messages in the server's order. While it is not ready, live messages are held back.
 */
/** @import { Message, Wire } from "./types.js" */
import { RingcastError } from "./values.js";

/**
 * @typedef {{name: string, ready: boolean, entered: boolean, last: string|undefined, held: Message[], joined: Promise<void>,
 *   resolve: () => void, reject: (error: RingcastError) => void}} Room `entered`: on this connection or an earlier one;
 *   `last` is the id of the newest message heard
 *
 * @typedef {object} RoomsOwner
 * @property {(message: Message) => Promise<Message>} request
 * @property {(message: Message) => boolean} isNew
 * @property {(message: Message) => void} emit
 * @property {() => void} entered
 * @property {(name: string, error: RingcastError) => void} left
 */

/** The end of a history, in the form of a message's id. @param {Message} history @returns {string|undefined} */
function endOf(history) {
	return history.epoch ? `${history.epoch.toString(16)}-${history.seq}` : undefined;
}

/** @param {string} id */
const epochOf = id => id.slice(0, id.lastIndexOf("-"));

/** @param {Wire} wire */
const feedsOnly = wire => new RingcastError("FEEDS_ONLY", `rooms need a WebSocket; only feeds come by ${wire.transport}`);

export class Rooms {
	/** @type {Map<string, Room>} */ #rooms = new Map();
	#wire;
	#owner;

	/** @param {Wire} wire @param {RoomsOwner} owner */
	constructor(wire, owner) {
		this.#wire = wire;
		this.#owner = owner;
	}

	/** @param {string} name */
	has(name) {
		return this.#rooms.has(name);
	}

	/** Whether the server counts us as a member now. @param {string} name */
	isReady(name) {
		return !!this.#rooms.get(name)?.ready;
	}

	/** @param {string} name @returns {Promise<void>} */
	join(name) {
		const known = this.#rooms.get(name);
		if (known) return known.joined;
		if (this.#wire.transport && !this.#wire.ready) return Promise.reject(feedsOnly(this.#wire));
		/** @type {any} */ const room = { name, ready: false, entered: false, last: undefined, held: [] };
		room.joined = new Promise((resolve, reject) => Object.assign(room, { resolve, reject }));
		room.joined.catch(() => {});
		this.#rooms.set(name, room);
		if (this.#wire.ready) this.#enter(room);
		return room.joined;
	}

	/** @param {string} name */
	leave(name) {
		const room = this.#rooms.get(name);
		if (!room) return;
		this.#forget(room, new RingcastError("LEFT", "the client left the room"));
		this.#wire.write({ type: "leave_room", room: name });
	}

	/** Leaves all rooms. */
	reset() {
		for (const name of this.#rooms.keys()) this.leave(name);
	}

	/** Nobody can say when the rooms could be entered. Who waits for his first time in one is told. Those that were entered
	 *  before are entered again when they can be. @param {RingcastError} [error] */
	abandon(error = feedsOnly(this.#wire)) {
		for (const room of this.#rooms.values()) if (!room.entered) this.#forget(room, error);
	}

	/** A connection opened: enters all rooms. */
	resume() {
		for (const room of this.#rooms.values()) this.#enter(room);
	}

	/** The connection is gone. What was held back is in the room's history. */
	dropped() {
		for (const room of this.#rooms.values()) Object.assign(room, { ready: false, held: [] });
	}

	/** @param {Room} room */
	async #enter(room) {
		const generation = this.#wire.generation;
		try {
			await this.#owner.request({ type: "join_room", room: room.name });
			await this.#recover(room);
		} catch (error) {
			const { code } = /** @type {RingcastError} */ (error);
			if (generation !== this.#wire.generation || this.#rooms.get(room.name) !== room) return;
			if (code === "TIMEOUT") this.#enter(room);
			else this.#forget(room, /** @type {RingcastError} */ (error));
			return;
		}
		room.ready = room.entered = true;
		for (const message of room.held.splice(0)) this.#hear(room, message);
		room.resolve();
		this.#owner.entered();
	}

	/** @param {Room} room */
	async #recover(room) {
		if (!room.last) {
			// Nothing was heard there yet, so only where the room stands matters.
			const history = await this.#owner.request({ type: "history", room: room.name, limit: 1 });
			room.last ??= endOf(history);
			return;
		}
		for (let since = room.last, next = since; ; since = next) {
			const history = await this.#owner.request({ type: "history", room: room.name, since });
			next = endOf(history) ?? since;
			if (epochOf(next) !== epochOf(since)) this.#owner.emit({ type: "gap", room: room.name, reset: true });
			for (const message of history.messages) this.#hear(room, message);
			room.last = next;
			if (next === since) return;
		}
	}

	/** @param {Room} room @param {RingcastError} error */
	#forget(room, error) {
		this.#rooms.delete(room.name);
		room.reject(error);
		this.#owner.left(room.name, error);
	}

	/** @param {Message} message as it came just now */
	heard(message) {
		const room = this.#rooms.get(message.room);
		if (room?.last && !room.ready) room.held.push(message);
		else this.#hear(room, message);
	}

	/** @param {Room|undefined} room @param {Message} message */
	#hear(room, message) {
		if (!this.#owner.isNew(message)) return;
		if (room) room.last = message.id;
		this.#owner.emit(message);
	}
}
