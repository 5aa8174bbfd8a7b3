// SPDX-License-Identifier: MIT
/**
 * connection.js - keeps one link to the server open: tries, waits, falls back to other transports and comes back from them,
 * and leaves a link that has gone silent. It must not know what a link is made of, nor any message but the welcome and
 * the ping; its owner makes the links and hears the messages.
 *
 * Invariant: at most one link is in use, and of all attempts under way only those of the newest generation count.
 */
/** @import { Settings } from "./options.js" */
/** @import { Link, Listener, Message, State, Transport, Wire } from "./types.js" */

/**
 * @typedef {{code: number, reason: string}} Ending
 *
 * @typedef {object} Owner
 * @property {(kind: Transport, listener: Listener) => Promise<Link>} dial
 * @property {() => boolean} hasFeeds only feeds come over other transports than a WebSocket
 * @property {(message: Message) => void} welcomed
 * @property {() => void} opened
 * @property {(message: Message) => void} heard
 * @property {(now: number) => void} ticked several times a second, while a WebSocket is open
 * @property {() => void} dropped
 * @property {(event: Message) => void} changed with each state
 * @property {() => boolean} known whether the server knows who we are
 * @property {(why: Ending) => void} refused for good
 */

const TICK_MS = 250;
const UNAUTHORIZED = 3401; // as the server refuses
const FORBIDDEN = 3403;
const TOO_MANY = 3429;
const POLICY = 1008;
const STABLE_MS = 3_000; // a connection that lasted so long counts as a success

/** @implements {Wire} */
export class Connection {
	/** @type {State} */ #state = "idle";
	/** @type {Link|null} */ #link = null;
	/** @type {Set<() => void>} */ #attempts = new Set(); // each ends a link that has not opened yet
	#generation = 0;
	#tries = 0;
	#socketFailures = 0;
	/** @type {any} */ #retryTimer;
	/** @type {any} */ #tickTimer;
	/** @type {any} */ #upgradeTimer;
	/** @type {number|undefined} */ #askedDelay;
	#openedAt = 0;
	#pinged = false; // and nothing was heard since
	#lastPing = 0;
	#online = () => this.#state === "waiting" || this.#state === "failed" ? this.connect() : undefined;
	#options;
	#owner;

	/** @param {Settings} options @param {Owner} owner */
	constructor(options, owner) {
		this.#options = options;
		this.#owner = owner;
	}

	get state() {
		return this.#state;
	}

	/** @returns {Transport|null} */
	get transport() {
		return this.#link?.kind ?? null;
	}

	get ready() {
		return this.#link?.kind === "websocket";
	}

	get generation() {
		return this.#generation;
	}

	/** @param {Message} message */
	write(message) {
		this.#link?.send(JSON.stringify(message));
	}

	connect() {
		if (this.#state === "connecting" || this.#state === "open") return;
		if (this.#state !== "waiting") this.#tries = 0;
		clearTimeout(this.#retryTimer);
		globalThis.addEventListener?.("online", this.#online);
		this.#attempt(++this.#generation);
	}

	/** @param {number} code @param {string} reason */
	close(code, reason) {
		this.#generation++;
		this.#drop(code, reason);
		globalThis.removeEventListener?.("online", this.#online);
		this.#become("closed", { code, reason });
	}

	/** Replaces the link that is open by a new one. */
	restart() {
		if (!this.#link) return;
		this.#drop();
		this.#attempt(++this.#generation);
	}

	/** Before the next try. @param {number} ms */
	waitNext(ms) {
		this.#askedDelay = ms;
	}

	/** @param {State} state @param {object} [more] */
	#become(state, more = {}) {
		this.#state = state;
		this.#owner.changed({ type: "state", state, transport: this.transport, tries: this.#tries, ...more });
	}

	/** @param {number} generation */
	async #attempt(generation) {
		this.#become("connecting");
		const others = this.#owner.hasFeeds() && this.#socketFailures >= this.#options.fallbackAfter;
		let why = { code: 1006, reason: "" };
		for (const kind of this.#options.transports) {
			if (kind !== "websocket" && !others && this.#options.transports.includes("websocket")) continue;
			const ended = await this.#open(kind, generation);
			if (generation !== this.#generation || !ended) return;
			if (this.#isFinal(ended, false)) return this.#refuse(ended);
			if (!why.reason) why = ended;
		}
		this.#retry(why);
	}

	/** @param {Transport} kind @param {number} generation
	 *  @returns {Promise<Ending|null>} null: the link is open, and it is the one in use */
	async #open(kind, generation) {
		/** @type {(why: Ending|null) => void} */ let done = () => {};
		const opened = new Promise(resolve => void (done = resolve));
		let link = /** @type {Link|null} */ (null), settled = false;
		const cancel = () => {
			settled = true;
			clearTimeout(timer);
			this.#attempts.delete(cancel);
			if (link !== this.#link) link?.close(4000, "no welcome");
		};
		this.#attempts.add(cancel);
		const settle = (/** @type {Ending|null} */ why) => {
			if (!why) this.#adopt(/** @type {Link} */ (link));
			cancel();
			if (kind === "websocket") this.#socketFailures = why ? this.#socketFailures + 1 : 0;
			done(why);
		};
		const timer = setTimeout(() => settle({ code: 1006, reason: "timed out" }), this.#options.connectTimeout);
		const listener = {
			opened: () => {
				if (!settled && link) settle(null);
			},
			heard: (/** @type {Message} */ message) => {
				if (link !== this.#link && message.type === "welcome") {
					this.#owner.welcomed(message);
					listener.opened();
				}
				if (link !== this.#link) return;
				this.#pinged = false;
				this.#owner.heard(message);
			},
			ended: (/** @type {number} */ code, /** @type {string} */ reason) => {
				if (!settled) settle({ code, reason });
				else if (link === this.#link) this.#lost({ code, reason });
			},
		};
		try {
			link = await this.#owner.dial(kind, listener);
			if (settled) link.close();
		} catch (error) {
			if (!settled) settle({ code: 1006, reason: String(/** @type {any} */ (error).message ?? error) });
		}
		return /** @type {Promise<any>} */ (opened);
	}

	/** @param {Link} link */
	#adopt(link) {
		this.#link?.close();
		this.#link = link;
		this.#openedAt = this.#lastPing = Date.now();
		this.#pinged = false;
		this.#askedDelay = undefined;
		clearTimeout(this.#upgradeTimer);
		clearInterval(this.#tickTimer);
		if (link.kind === "websocket") this.#tickTimer = setInterval(() => this.#tick(), TICK_MS);
		else if (this.#options.transports.includes("websocket")) this.#upgradeLater();
		this.#owner.opened();
		this.#become("open");
	}

	#upgradeLater() {
		this.#upgradeTimer = setTimeout(() => this.#upgrade(), this.#options.upgradeAfter);
	}

	/** Tries a WebSocket while the other link goes on. */
	async #upgrade() {
		const generation = this.#generation;
		if ((await this.#open("websocket", generation)) && generation === this.#generation && this.#link) this.#upgradeLater();
	}

	/** Leaves the link that is open, and those that are about to be. @param {number} [code] @param {string} [reason] */
	#drop(code, reason) {
		clearTimeout(this.#retryTimer);
		clearTimeout(this.#upgradeTimer);
		clearInterval(this.#tickTimer);
		for (const cancel of this.#attempts) cancel();
		this.#link?.close(code, reason);
		this.#link = null;
		this.#owner.dropped();
	}

	/** @param {Ending} why */
	#lost(why) {
		this.#generation++;
		// A server that lets us in and at once shows us out has not taken us.
		if (Date.now() - this.#openedAt >= STABLE_MS) this.#tries = 0;
		this.#drop(4000, "lost");
		if (this.#isFinal(why, this.#owner.known())) this.#refuse(why);
		else this.#retry(why);
	}

	/** Whether another try would end in the same way. A server that knows us may close with POLICY for what passes, as
	 *  reading too slowly. @param {Ending} why @param {boolean} known */
	#isFinal({ code }, known) {
		return code === UNAUTHORIZED || code === FORBIDDEN || (code === POLICY && !known);
	}

	/** @param {Ending} why */
	#refuse(why) {
		globalThis.removeEventListener?.("online", this.#online);
		this.#become("failed", { ...why, permanent: true });
		this.#owner.refused(why);
	}

	/** @param {Ending} why */
	#retry(why) {
		if (this.#tries >= this.#options.maxTries) {
			this.#become("failed", why);
			return;
		}
		const { minDelay, maxDelay } = this.#options;
		const whole = why.code === TOO_MANY ? maxDelay : Math.min(maxDelay, minDelay * 2 ** this.#tries);
		const delay = Math.round(this.#askedDelay ?? whole / 2 + (Math.random() * whole) / 2);
		this.#askedDelay = undefined;
		this.#tries++;
		this.#retryTimer = setTimeout(() => this.connect(), delay);
		this.#become("waiting", { delay, ...why });
	}

	#tick() {
		const now = Date.now(), { heartbeat, heartbeatTimeout } = this.#options;
		// Only the time after a ping counts, not silence as such: the timers of a page in the background come once a minute,
		// or not at all.
		if (this.#pinged && now - this.#lastPing >= heartbeatTimeout)
			return this.#lost({ code: 1006, reason: "nothing heard" });
		if (!this.#pinged && now - this.#lastPing >= heartbeat) {
			this.#pinged = true;
			this.#lastPing = now;
			this.write({ type: "ping", timestamp: performance.now() });
		}
		this.#owner.ticked(now);
	}
}
