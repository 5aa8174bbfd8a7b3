// SPDX-License-Identifier: MIT
/**
 * options.js - what the constructor's second argument may hold, and what holds without it. It knows nobody who uses them.
 */
/** @import { Transport } from "./types.js" */

/**
 * @typedef {object} Keeping what localStorage can do, as far as it is used
 * @property {number} length
 * @property {(index: number) => string|null} key
 * @property {(name: string) => string|null} getItem
 * @property {(name: string, value: string) => void} setItem
 * @property {(name: string) => void} removeItem
 *
 * @typedef {object} Options
 * @property {string|(() => string|Promise<string>)} [token] is sent as the second subprotocol, and again when it expires
 * @property {boolean} [reliable] the client acknowledges direct messages
 * @property {number} [minDelay] ms before the first new try; doubles with each try
 * @property {number} [maxDelay] ms
 * @property {number} [maxTries] tries in a row; after them the state is "failed" until connect()
 * @property {number} [connectTimeout] ms
 * @property {number} [heartbeat] ms between two pings
 * @property {number} [heartbeatTimeout] ms of silence after a ping; after them the connection counts as lost
 * @property {number} [ackTimeout] ms until a message is sent again; doubles with each time
 * @property {number} [resendMax] how many times a message is sent again on one connection
 * @property {number} [window] how many messages may be under way without an ACK
 * @property {number} [queueMax] how many messages may wait, those under way included
 * @property {number} [requestTimeout] ms for the answer to join(), history() and the like
 * @property {{count: number, delay: number}} [batch] how much the server may gather into one message
 * @property {string} [storage] keeps the waiting messages in localStorage, under names with this prefix
 * @property {Keeping} [store] is used in place of localStorage
 * @property {Transport[]} [transports] in the order in which they are tried
 * @property {number} [fallbackAfter] failed tries of a WebSocket before the other transports are tried
 * @property {number} [upgradeAfter] ms between two tries to get back to a WebSocket
 * @property {string} [http] the path under which /sse and /poll are; by default beside /ws
 * @property {any} [WebSocket] the constructor to use
 *
 * @typedef {Options & typeof DEFAULTS} Settings
 */

export const DEFAULTS = {
	reliable: true,
	minDelay: 500,
	maxDelay: 30_000,
	maxTries: 30,
	connectTimeout: 10_000,
	heartbeat: 15_000,
	heartbeatTimeout: 10_000,
	ackTimeout: 5_000,
	resendMax: 5,
	window: 32,
	queueMax: 1_000,
	requestTimeout: 10_000,
	fallbackAfter: 2,
	upgradeAfter: 60_000,
	transports: /** @type {Transport[]} */ (["websocket", "sse", "poll"]),
};
