// SPDX-License-Identifier: MIT
/**
 * keyed.js - the state of one keyed topic, as a Map from key to the newest data. It is told what comes, by whom it does not
 * care: ringcast.js feeds it the dialect's messages, and a page without that may feed it `?form=json`. It must not know how
 * anything is asked for.
 *
 * Invariant: at every moment the Map is the topic's state behind one update. What a run brings (a state, or the newest of
 * each key) is set aside until the run is whole, and then becomes the Map's in one step.
 */
/** @import { MarkKind, Verdict } from "./follower.js" */
/** @import { Handler } from "./handlers.js" */
import { Follower } from "./follower.js";
import { Handlers } from "./handlers.js";

/** @typedef {{epoch: number, seq: number, prev: number, key?: string, removed?: boolean, snapshot?: boolean, data?: any}}
 *    KeyedUpdate */

const SETTLE_MS = 1_000;

export class Keyed {
	/** The state. It is the same Map from the beginning to the end; only this class may change it. @type {Map<string, any>} */
	map = new Map();
	/** How often it began anew after it had begun: the reader was overrun, or the server was another. */
	resyncs = 0;
	/** When something came, in ms of Date.now(), or 0. */
	heardAt = 0;
	#follower = new Follower();
	#handlers = new Handlers();
	/** What a run has brought so far; undefined is a key that was removed. @type {Map<string, any>|null} */ #aside = null;
	#anew = false; // what was set aside replaces the Map
	#known = false; // the Map had begun before that
	/** @type {MarkKind} */ #kind = "state";
	#base;

	/** @param {string} topic @param {{base?: (data: any) => Iterable<[string, any]>, holes?: boolean}} [how] `base` tells which
	 *  keys the data of a snapshot has; without it the members of an object. With `holes` the server leaves updates out
	 *  without saying so, and they are not missed */
	constructor(topic, how = {}) {
		this.topic = topic;
		this.#follower.holes = !!how.holes;
		this.#base = how.base ?? (data => Object.entries(data && typeof data === "object" ? data : {}));
	}

	/** Whether the Map is all that there is: false before the first state, and while something that was lost is awaited. */
	get whole() {
		return this.#follower.whole && !this.#aside;
	}

	/** How often something was really lost. It is told as "gap" too. */
	get gaps() {
		return this.#follower.gaps;
	}

	/** How many updates were lost at least. */
	get missing() {
		return this.#follower.missing;
	}

	get epoch() {
		return this.#follower.epoch;
	}

	/** The number of the newest update that is known. */
	get seq() {
		return this.#follower.seq;
	}

	/** From where another connection goes on; null: with the state. */
	get position() {
		return this.#follower.position;
	}

	/**
	 * "change" has `key`, `value` and `removed`, once the Map has it; after several at once, when the Map has all of them.
	 * "resync" says that the Map began anew, with `kind` ("state" or "resync"), `epoch` and `seq`; its changes follow.
	 * "message" has an `update` without a key. "gap" says that something was lost, with `gaps` and `missing` so far.
	 * @param {string} type @param {Handler} handler @returns {() => void} takes it away again
	 */
	on(type, handler) {
		return this.#handlers.add(type, handler);
	}

	// ---- what comes; each returns false when the state has to be asked for anew ----

	/** @param {MarkKind} kind @param {number} epoch @param {number} seq */
	mark(kind, epoch, seq) {
		const known = this.#follower.epoch !== undefined, verdict = this.#follower.mark(kind, epoch, seq);
		this.heardAt = Date.now();
		if (verdict === "forget") {
			this.#aside = new Map();
			this.#anew = true;
			if (known) this.resyncs++;
			this.#kind = kind;
			this.#known = known;
		} else if (kind === "conflated" && !this.#follower.settled) {
			this.#aside ??= new Map();
		}
		this.#settle();
		return this.#judge(verdict) && kind !== "reset";
	}

	/** @param {KeyedUpdate} update */
	update(update) {
		const verdict = this.#follower.update(update.epoch, update.seq, update.prev);
		this.heardAt = Date.now();
		if (verdict === "old") return true;
		// What follows something lost would make the Map what the topic never was. The next state makes it right.
		if (this.#follower.partial) return this.#judge(verdict);
		if (this.#aside || update.snapshot) this.#putAside(update);
		else if (update.key === undefined) this.#handlers.emit({ type: "message", update });
		else this.#change(update.key, update.removed ? undefined : update.data);
		this.#settle();
		return true;
	}

	/** A state whose last updates have no place in it, as removals have none, ends without a word: time ends it.
	 *  @param {number} now */
	tick(now) {
		if (this.#aside && !this.#follower.partial && now - this.heardAt > SETTLE_MS) this.#commit();
	}

	// ---- the Map ----

	/** @param {Verdict} verdict */
	#judge(verdict) {
		if (verdict !== "gap") return true;
		this.#aside = null;
		this.#anew = false;
		this.#handlers.emit({ type: "gap", topic: this.topic, gaps: this.gaps, missing: this.missing });
		return false;
	}

	/** @param {KeyedUpdate} update */
	#putAside({ key, removed, snapshot, data }) {
		this.#aside ??= new Map();
		if (snapshot) {
			this.#aside = new Map(this.#base(data));
			this.#anew = true;
		} else if (key !== undefined) {
			this.#aside.set(key, removed ? undefined : data);
		}
	}

	#settle() {
		if (this.#aside && this.#follower.whole) this.#commit();
	}

	#commit() {
		const aside = /** @type {Map<string, any>} */ (this.#aside), anew = this.#anew, begun = this.#known, changes = new Map(aside);
		this.#aside = null;
		this.#anew = this.#known = false;
		if (anew) for (const key of this.map.keys()) if (!aside.has(key)) changes.set(key, undefined);
		for (const [key, value] of changes) {
			if (value === undefined) this.map.delete(key);
			else this.map.set(key, value);
		}
		if (anew && begun) this.#handlers.emit({ type: "resync", topic: this.topic, kind: this.#kind, epoch: this.epoch, seq: this.seq });
		for (const [key, value] of changes) this.#tell(key, value);
	}

	/** @param {string} key @param {any} value */
	#change(key, value) {
		if (value === undefined) this.map.delete(key);
		else this.map.set(key, value);
		this.#tell(key, value);
	}

	/** @param {string} key @param {any} value */
	#tell(key, value) {
		this.#handlers.emit({ type: "change", topic: this.topic, key, value, removed: value === undefined });
	}
}
