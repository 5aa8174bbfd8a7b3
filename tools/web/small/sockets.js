// SPDX-License-Identifier: MIT
/** sockets.js - in place of client/sockets.js in the small file: the browser's own WebSocket. */
export async function findWebSocket() {
	return globalThis.WebSocket;
}
