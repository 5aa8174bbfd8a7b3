// SPDX-License-Identifier: MIT
/** states.js - in place of client/states.js in the small file: there are no keyed topics, and who asks for one is told. */
import { RingcastError } from "./values.js";

export class States {
	has() {
		return false;
	}

	heard() {
		return false;
	}

	close() {}
	reset() {}
	resume() {}
	tick() {}
	refused() {}

	open() {
		throw new RingcastError("NOT_HERE", "this is ringcast.min: keyed() is in ringcast.js");
	}
}
