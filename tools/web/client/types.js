// SPDX-License-Identifier: MIT
/**
 * types.js - the types that several modules share. It holds no code and knows no module.
 *
 * @typedef {{type: string, [member: string]: any}} Message a message of the dialect
 * @typedef {"idle"|"connecting"|"open"|"waiting"|"failed"|"closed"} State
 * @typedef {"websocket"|"sse"|"poll"} Transport
 *
 * A link is one connection of one transport. It tells its listener what happens to it.
 * @typedef {{kind: Transport, send: (text: string) => void, close: (code?: number, reason?: string) => void}} Link
 * @typedef {{opened: () => void, heard: (message: Message) => void, ended: (code: number, reason: string) => void}}
 *   Listener
 *
 * The wire is what requests, rooms, feeds and the outbox see of the connection.
 * @typedef {object} Wire
 * @property {boolean} ready a WebSocket is open, so messages can be written
 * @property {Transport|null} transport the one that is open
 * @property {number} generation rises whenever connecting begins anew and whenever a connection is lost
 * @property {(message: Message) => void} write
 * @property {() => void} restart replaces an open link by a new one
 */
export {};
