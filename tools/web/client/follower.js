// SPDX-License-Identifier: MIT
/**
 * follower.js - whether what a reader of a topic has is all that there is. Each update says its own number and that of the
 * update before it; where the server gives less than every update, it says so by a mark first, and up to which number. It
 * sees numbers alone, and knows nothing of what the updates hold.
 *
 * Invariant: `whole` is true only while every update up to the last was taken, or all of the state that stands for them.
 */

/** @typedef {"state"|"resync"|"conflated"|"heartbeat"|"reset"} MarkKind
 *  @typedef {"take"|"forget"|"old"|"gap"} Verdict `forget`: what was taken before counts no longer; `old`: it was taken
 *    before; `gap`: something before it is missing */

export class Follower {
	/** @type {number|undefined} */ epoch;
	/** The newest number that was taken. */
	last = 0;
	/** Of the latest mark: up to here numbers may have holes. */
	until = 0;
	/** Something was lost, or it began in the middle: only a state makes it right again. */
	partial = true;
	/** No updates of a run are outstanding. */
	settled = true;
	/** Updates may be left out without a mark, as for who asked for few of them; then numbers with holes are no loss. */
	holes = false;
	/** How often something was missing. */
	gaps = 0;
	/** How many updates were missing at least. */
	missing = 0;

	get whole() {
		return this.epoch !== undefined && !this.partial && this.settled;
	}

	/** The number of the newest update that is known to have been. */
	get seq() {
		return Math.max(this.last, this.until);
	}

	/** From where another connection goes on. @returns {{since: number, epoch: number}|null} null: with the state */
	get position() {
		// In the middle of a run everything behind the last update will do, because the run's end is behind that too.
		const since = this.settled ? this.seq : this.last;
		return this.epoch === undefined || this.partial || !since ? null : { since, epoch: this.epoch };
	}

	/** @param {number} epoch @param {number} seq @param {number} prev @returns {Verdict} */
	update(epoch, seq, prev) {
		/** @type {Verdict} */ let verdict = "take";
		if (this.epoch === undefined) {
			this.#begin(epoch, prev);
			this.partial = prev !== 0;
		} else if (epoch !== this.epoch) {
			verdict = this.#lose(0);
			this.#begin(epoch, prev);
		} else if (seq <= this.last) {
			return "old";
		} else if (seq > this.until && prev > this.seq && !this.holes) {
			verdict = this.#lose(prev);
		}
		this.last = seq;
		this.settled = seq >= this.until;
		return verdict;
	}

	/** @param {MarkKind} kind @param {number} epoch @param {number} seq @returns {Verdict} */
	mark(kind, epoch, seq) {
		if (kind === "heartbeat") return this.#heartbeat(epoch, seq);
		if (kind === "conflated") return this.#conflate(epoch, seq);
		this.#begin(epoch, seq);
		this.settled = kind === "reset" || seq === 0;
		this.partial = kind === "reset" && seq !== 0;
		return "forget";
	}

	/** @param {number} epoch @param {number} seq @returns {Verdict} */
	#conflate(epoch, seq) {
		/** @type {Verdict} */ let verdict = "take";
		if (epoch !== this.epoch) {
			verdict = this.epoch === undefined ? "forget" : this.#lose(0);
			this.#begin(epoch, seq);
			this.partial = true;
		}
		if (seq > this.seq) {
			this.until = seq;
			this.settled = false;
		}
		return verdict;
	}

	/** @param {number} epoch @param {number} seq @returns {Verdict} */
	#heartbeat(epoch, seq) {
		/** @type {Verdict} */ let verdict = "take";
		if (this.epoch === undefined) {
			this.#begin(epoch, seq);
			this.partial = seq !== 0;
		} else if (epoch !== this.epoch) {
			verdict = this.#lose(0);
			this.#begin(epoch, seq);
		} else if (seq > this.seq) {
			verdict = this.#lose(seq);
			this.last = seq;
		} else if (seq < this.seq) {
			return "old";
		}
		this.settled = true;
		return verdict;
	}

	/** @param {number} epoch @param {number} until */
	#begin(epoch, until) {
		this.epoch = epoch;
		this.until = until;
		this.last = 0;
	}

	/** @param {number} to @returns {Verdict} */
	#lose(to) {
		this.gaps++;
		this.missing += Math.max(to - this.seq, 1);
		this.partial = true;
		return "gap";
	}
}
