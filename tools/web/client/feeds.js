// SPDX-License-Identifier: MIT
/**
 * feeds.js - the feeds that were subscribed to, and the position in each topic. Each subscription is made anew on each
 * connection, from where the topic stopped. It must not know how a link is made: it gives the address to ask for feeds.
 *
 * Invariant: no update is handled twice. Once a topic's position was heard, an update of its epoch counts only beyond it.
 */
/** @import { Settings } from "./options.js" */
/** @import { Message, Transport, Wire } from "./types.js" */
/** @import { RingcastError } from "./values.js" */
import { callHandler } from "./handlers.js";

/**
 * @typedef {(data: any, update: Message) => void} UpdateHandler
 * @typedef {{name: string, last: boolean, conflate: boolean, handlers: Set<UpdateHandler>}} Subscription
 * @typedef {{epoch: number|undefined, seq: number, heard: boolean}} Position `heard`: an update or a gap led there
 *
 * @typedef {object} FeedsOwner
 * @property {(message: Message) => Promise<Message>} request
 * @property {(message: Message) => void} emit
 */

const TOPICS_PER_MESSAGE_MAX = 100;

/** @param {string} pattern @param {string} name */
function matches(pattern, name) {
	return pattern === name || (pattern.endsWith("*") && name.startsWith(pattern.slice(0, -1)));
}

export class Feeds {
	/** @type {Map<string, Subscription>} */ #subscriptions = new Map();
	/** @type {Map<string, Position>} */ #positions = new Map();
	#eventId = "";
	#options;
	#socketAddress;
	#wire;
	#owner;

	/** @param {Settings} options @param {URL} socketAddress of the WebSocket @param {Wire} wire @param {FeedsOwner} owner */
	constructor(options, socketAddress, wire, owner) {
		this.#options = options;
		this.#socketAddress = socketAddress;
		this.#wire = wire;
		this.#owner = owner;
	}

	get size() {
		return this.#subscriptions.size;
	}

	/** The id of the last server-sent event, or "". */
	get eventId() {
		return this.#eventId;
	}

	set eventId(id) {
		this.#eventId = id;
	}

	// ---- what is asked for ----

	/** @param {string[]} names @param {UpdateHandler|undefined} handler
	 *  @param {{since?: number, epoch?: number, last?: boolean, conflate?: boolean}} how */
	subscribe(names, handler, how) {
		const fresh = /** @type {Subscription[]} */ ([]);
		for (const name of names) {
			let subscription = this.#subscriptions.get(name);
			if (!subscription) {
				subscription = { name, last: !!how.last, conflate: !!how.conflate, handlers: new Set() };
				this.#subscriptions.set(name, subscription);
				if (how.since !== undefined && !this.#positions.has(name)) this.#move(name, how.epoch, how.since, false);
				fresh.push(subscription);
			}
			if (handler) subscription.handlers.add(handler);
		}
		if (fresh.length) this.#changed(() => this.#ask(fresh));
	}

	/** @param {string[]} names @param {UpdateHandler|undefined} handler */
	unsubscribe(names, handler) {
		const gone = new Set();
		for (const name of names) {
			const subscription = this.#subscriptions.get(name);
			if (!subscription || (handler && subscription.handlers.delete(handler) && subscription.handlers.size)) continue;
			this.#subscriptions.delete(name);
			gone.add(name);
			for (const known of [...this.#positions.keys()]) {
				if (!matches(name, known) || [...this.#subscriptions.keys()].some(other => matches(other, known))) continue;
				this.#positions.delete(known);
				gone.add(known);
			}
		}
		if (gone.size) this.#changed(() => this.#wire.write({ type: "unsubscribe", topics: [...gone] }));
	}

	/** Gives up everything. */
	reset() {
		this.unsubscribe([...this.#subscriptions.keys()], undefined);
	}

	/** The server took them back: asked for again, they would take the others with them. @param {string[]} names */
	refused(names) {
		for (const name of names) this.#subscriptions.delete(name);
	}

	/** A link over HTTP has its topics in its address, so another list needs another link. @param {() => void} tell */
	#changed(tell) {
		if (this.#wire.ready) tell();
		else if (this.#wire.transport) {
			this.#eventId = "";
			this.#wire.restart();
		}
	}

	/** A connection opened: subscribes to everything. */
	resume() {
		this.#ask([...this.#subscriptions.values()]);
	}

	/** @param {Subscription[]} subscriptions */
	#ask(subscriptions) {
		/** @type {Map<string, {last: boolean, conflate: boolean, topics: Set<string>}>} */
		const kinds = new Map();
		for (const { name, last, conflate } of subscriptions) {
			const key = `${last} ${conflate}`, kind = kinds.get(key) ?? { last, conflate, topics: new Set() };
			// Each topic that a pattern has brought is asked for by name too: only so does it go on from its own position.
			if (name.endsWith("*"))
				for (const known of this.#positions.keys()) if (matches(name, known)) kind.topics.add(known);
			kinds.set(key, { ...kind, topics: kind.topics.add(name) });
		}
		for (const { topics, last, conflate } of kinds.values()) {
			const all = [...topics];
			for (let at = 0; at < all.length; at += TOPICS_PER_MESSAGE_MAX)
				this.#request(all.slice(at, at + TOPICS_PER_MESSAGE_MAX), last, conflate);
		}
	}

	/** @param {string[]} topics @param {boolean} last @param {boolean} conflate */
	#request(topics, last, conflate) {
		/** @type {Record<string, number>} */ const since = {}, /** @type {Record<string, number>} */ epoch = {};
		for (const name of topics) {
			const position = this.#positions.get(name);
			if (position) since[name] = position.seq;
			if (position?.epoch !== undefined) epoch[name] = position.epoch;
		}
		const generation = this.#wire.generation;
		this.#owner.request({ type: "subscribe", topics, since, epoch, last, conflate })
			.catch((/** @type {RingcastError} */ error) => {
				if (error.code === "TIMEOUT" && generation === this.#wire.generation) this.#request(topics, last, conflate);
			});
	}

	/** The address that brings the feeds over HTTP. @param {Transport} kind
	 *  @param {boolean} [goesOn] an earlier request got an answer, and only what is new since then is wanted */
	address(kind, goesOn = false) {
		// Each topic that a pattern has brought is asked for by name too: only so does it go on from its own position.
		const topics = [...new Set([...this.#subscriptions.keys(), ...this.#positions.keys()])];
		const positions = topics.map(name => this.#positions.get(name)), subscriptions = [...this.#subscriptions.values()];
		const root = this.#options.http ?? this.#socketAddress.pathname.replace(/\/ws(\/[^/]*)?$/, "");
		const address = new URL(root || "/", this.#socketAddress.href.replace(/^ws/, "http"));
		address.pathname = address.pathname.replace(/\/$/, "") + `/${kind}/` + topics.map(encodeURIComponent).join(",");
		address.search = "";
		if (subscriptions.every(each => each.last)) address.searchParams.set("last", "1");
		if (subscriptions.every(each => each.conflate)) address.searchParams.set("conflate", "1");
		if (goesOn || positions.some(Boolean)) {
			address.searchParams.set("since", positions.map(position => position?.seq ?? "").join());
			address.searchParams.set("epoch", positions.map(position => position?.epoch ?? "").join());
		} else if (kind === "poll") {
			address.searchParams.set("wait", "0"); // where the topics stand, at once
		}
		return address.href;
	}

	// ---- what comes ----

	/** @param {Message} message */
	heardUpdate(message) {
		const { topic, seq, prev, epoch, data } = message, position = this.#positions.get(topic);
		const wanting = [...this.#subscriptions.values()].filter(each => matches(each.name, topic));
		if (position?.heard && position.epoch === epoch) {
			if (seq <= position.seq) return;
			// A message that does not say which was before it comes of a server whose numbers have no holes.
			if ((prev ?? seq - 1) > position.seq && !wanting.some(each => each.conflate))
				this.#owner.emit({ type: "gap", topic, from: position.seq + 1, to: prev ?? seq - 1, epoch });
		}
		this.#move(topic, epoch, seq, true);
		for (const { handlers } of wanting) for (const handler of handlers) callHandler(() => handler(data, message));
		this.#owner.emit(message);
	}

	/** @param {Message} message that updates are missing */
	heardGap(message) {
		this.#move(message.topic, message.epoch, message.to, true);
	}

	/** Keeps where a quiet topic stands, so that it goes on from there.
	 *  @param {{topic: string, seq: number, epoch?: number}[]} topics */
	heardSubscribed(topics) {
		for (const { topic, seq, epoch } of topics)
			if (epoch !== undefined && !this.#positions.has(topic) && !this.#subscriptions.get(topic)?.last)
				this.#move(topic, epoch, seq, false);
	}

	/** @param {string} topic @param {number|undefined} epoch @param {number} seq @param {boolean} heard */
	#move(topic, epoch, seq, heard) {
		this.#positions.set(topic, { epoch, seq, heard });
	}
}
