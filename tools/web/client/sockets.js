// SPDX-License-Identifier: MIT
/**
 * sockets.js - the WebSocket that there is: the browser's or Node's own, else that of npm's package `ws`. It opens none. The
 * small file, which is for browsers, has it from tools/web/small/.
 */
import { RingcastError } from "./values.js";

/** @returns {Promise<any>} a WebSocket constructor */
export async function findWebSocket() {
	if (globalThis.WebSocket) return globalThis.WebSocket;
	try {
		// It is loaded by require, so that NODE_PATH counts, and from the program's place: this file may be a classic script,
		// which knows none of its own. The name is in a variable, so that bundlers for browsers do not look for it.
		const module = "node:module", { createRequire } = await import(module), { argv, cwd } = /** @type {any} */ (globalThis).process;
		return createRequire(argv[1] ?? `${cwd()}/.`)("ws");
	} catch {
		throw new RingcastError("NO_WEBSOCKET", "this Node has no WebSocket, and npm's package ws is not installed");
	}
}
