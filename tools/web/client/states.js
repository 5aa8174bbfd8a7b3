// SPDX-License-Identifier: MIT
/**
 * states.js - the keyed topics that were asked for. Each is asked for on each connection, from where it stopped where the
 * server still has that, else with its state; and anew when something was lost. What comes of them it hands to their Maps.
 * It must not know how messages travel.
 *
 * Invariant: what was asked for on an earlier connection, or before something was lost, is never mixed with what is newer.
 */
/** @import { Message, Wire } from "./types.js" */
/** @import { RingcastError } from "./values.js" */
import { Keyed } from "./keyed.js";

/** @typedef {{keyed: Keyed, rate: number|undefined}} KeyedEntry
 *  @typedef {{rate?: number, base?: (data: any) => Iterable<[string, any]>}} KeyedHow `rate`: at most so many updates a
 *    second; `base`: which keys the data of a snapshot has */

export class States {
	/** @type {Map<string, KeyedEntry>} */ #entries = new Map();
	#wire;
	#request;

	/** @param {Wire} wire @param {(message: Message) => Promise<Message>} request */
	constructor(wire, request) {
		this.#wire = wire;
		this.#request = request;
	}

	/** @param {string} topic */
	has(topic) {
		return this.#entries.has(topic);
	}

	/** @param {string} topic @param {KeyedHow} how @returns {Keyed} */
	open(topic, how) {
		const known = this.#entries.get(topic);
		if (known) return known.keyed;
		// The dialect does not say what it leaves out for a rate.
		const entry = { keyed: new Keyed(topic, { base: how.base, holes: !!how.rate }), rate: how.rate };
		this.#entries.set(topic, entry);
		if (this.#wire.ready) this.#ask(entry);
		return entry.keyed;
	}

	/** @param {string} topic */
	close(topic) {
		if (this.#entries.delete(topic) && this.#wire.ready) this.#wire.write({ type: "unsubscribe", topics: [topic] });
	}

	/** Gives up everything. */
	reset() {
		for (const topic of this.#entries.keys()) this.close(topic);
	}

	/** A connection opened. */
	resume() {
		for (const entry of this.#entries.values()) this.#ask(entry);
	}

	/** @param {number} now */
	tick(now) {
		for (const { keyed } of this.#entries.values()) keyed.tick(now);
	}

	/** @param {KeyedEntry} entry */
	#ask(entry) {
		const { keyed, rate } = entry, { topic, position } = keyed, generation = this.#wire.generation;
		/** @type {Message} */ const message = { type: "subscribe", topics: [topic], state: true };
		if (rate) message.rate = rate;
		if (position) {
			message.since = { [topic]: position.since };
			message.epoch = { [topic]: position.epoch };
		}
		this.#request(message).catch((/** @type {RingcastError} */ error) => {
			const mine = this.#entries.get(topic) === entry && generation === this.#wire.generation;
			if (mine && error.code === "TIMEOUT") this.#ask(entry);
		});
	}

	/** Something was lost: all of it, please. @param {KeyedEntry} entry */
	#askAnew(entry) {
		this.#wire.write({ type: "unsubscribe", topics: [entry.keyed.topic] });
		this.#ask(entry);
	}

	// ---- what comes ----

	/** @param {Message} message @returns {boolean} whether it is of a keyed topic, and nobody else's */
	heard(message) {
		if (message.type === "subscribed") {
			for (const { topic, seq, epoch, state } of message.topics ?? [])
				if (state) this.#entries.get(topic)?.keyed.mark("state", epoch, seq);
			return false;
		}
		const entry = this.#entries.get(message.topic);
		if (!entry) return false;
		const { keyed } = entry, { type, epoch, seq } = message;
		let good = true;
		if (type === "update") good = keyed.update(/** @type {any} */ (message));
		else if (type === "resync" || type === "conflated" || type === "heartbeat") good = keyed.mark(type, epoch, seq);
		if (!good) this.#askAnew(entry);
		return true;
	}

	/** The server took them back. @param {string[]} topics */
	refused(topics) {
		for (const topic of topics) this.#entries.delete(topic);
	}
}
