// SPDX-License-Identifier: MIT
/**
 * fake.mjs - a server for the tests of ringcast.js that does as it is told: it can be silent, forgetful or gone, and
 * writes down what it heard. It speaks just enough of RFC 6455 for text below 64 KB, and knows nothing of ringcast's code.
 */
import { createHash } from "node:crypto";
import { createServer } from "node:http";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** @param {string|Buffer} text */
function frame(text, opcode = 1) {
	const body = Buffer.from(text), head = Buffer.alloc(body.length < 126 ? 2 : 4);
	head[0] = 0x80 | opcode;
	if (body.length < 126) head[1] = body.length;
	else head.writeUInt16BE(body.length, (head[1] = 126) && 2);
	return Buffer.concat([head, body]);
}

/** One connection: `heard` has all messages, `say` sends one. */
class Peer {
	heard = [];
	#bytes = Buffer.alloc(0);

	constructor(server, request, socket) {
		Object.assign(this, { server, socket, path: request.url, offered: request.headers["sec-websocket-protocol"] ?? "" });
		socket.on("data", bytes => this.#read(bytes));
		socket.on("error", () => {});
	}

	say(type, members = {}) {
		this.socket.write(frame(typeof type === "string" ? JSON.stringify({ type, ...members }) : JSON.stringify(type)));
		return this;
	}

	drop() {
		this.socket.destroy();
	}

	end(code, reason = "") {
		const body = Buffer.alloc(2 + Buffer.byteLength(reason));
		body.writeUInt16BE(code);
		body.write(reason, 2);
		this.socket.end(frame(body, 8));
	}

	#read(bytes) {
		this.#bytes = Buffer.concat([this.#bytes, bytes]);
		for (;;) {
			const data = this.#bytes;
			if (data.length < 2) return;
			let size = data[1] & 127, at = 2;
			if (size === 126) {
				if (data.length < 4) return;
				size = data.readUInt16BE(2);
				at = 4;
			}
			if (data.length < at + 4 + size) return;
			const mask = data.subarray(at, at + 4), body = Buffer.from(data.subarray(at + 4, at + 4 + size));
			for (let i = 0; i < size; i++) body[i] ^= mask[i & 3];
			this.#bytes = data.subarray(at + 4 + size);
			if ((data[0] & 15) === 8) return void this.socket.end();
			if ((data[0] & 15) !== 1) continue;
			const message = JSON.parse(body.toString());
			this.heard.push(message);
			this.server.heard.push(message);
			this.server.answer(message, this);
		}
	}
}

export class Fake {
	peers = [];
	heard = [];
	requests = []; // of plain HTTP
	refuse = false; // WebSockets
	welcome = () => ({ userId: "me" });
	/** What to do with a message; by default ACKs and pongs, and joins. */
	answer = (message, peer) => {
		if (message.type === "DATA") peer.say("ACK", { data: { messageId: message.id } });
		else if (message.type === "ping") peer.say("pong", { timestamp: message.timestamp });
		else if (message.type === "join_room") peer.say("room_joined", { id: message.id, room: message.room });
		else if (message.type === "history") peer.say("history", { id: message.id, room: message.room, seq: 1, epoch: 10, messages: [] });
		else if (message.type === "subscribe") peer.say("subscribed", { id: message.id, topics: [] });
	};
	/** Plain HTTP. */
	http = (_, answer) => answer.writeHead(404).end();
	#waiting = [];
	#sockets = new Set();

	async start(port = 0) {
		this.http_ = createServer((request, answer) => {
			this.requests.push(request);
			this.http(request, answer);
		});
		this.http_.on("upgrade", (request, socket) => {
			if (this.refuse) return void socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
			const accept = createHash("sha1").update(request.headers["sec-websocket-key"] + GUID).digest("base64");
			const peer = new Peer(this, request, socket);
			const protocol = peer.offered ? "Sec-WebSocket-Protocol: ringcast.json\r\n" : "";
			socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n${protocol}` +
				`Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
			this.peers.push(peer);
			const welcome = this.welcome(peer);
			if (welcome) peer.say("welcome", { clientId: String(this.peers.length), ...welcome });
			this.#waiting.splice(0).forEach(done => done());
		});
		this.http_.on("connection", socket => {
			this.#sockets.add(socket);
			socket.on("close", () => this.#sockets.delete(socket));
		});
		await new Promise(done => this.http_.listen(port, "127.0.0.1", done));
		this.port = this.http_.address().port;
		this.url = `ws://127.0.0.1:${this.port}/ws/me`;
		return this;
	}

	/** The last connection, or the next. */
	get peer() {
		return this.peers[this.peers.length - 1];
	}

	async next() {
		await new Promise(done => this.#waiting.push(done));
		return this.peer;
	}

	/** As if killed. */
	async stop() {
		for (const socket of this.#sockets) socket.destroy();
		await new Promise(done => this.http_.close(done));
	}
}

/** @param {() => any} condition */
export async function until(condition, what = String(condition), limit = 15_000) {
	for (const end = Date.now() + limit * (Number(process.env.RC_SLOW) || 1); ; ) {
		const value = await condition();
		if (value) return value;
		if (Date.now() > end) throw new Error(`never came: ${what}`);
		await new Promise(done => setTimeout(done, 5));
	}
}

export const pause = ms => new Promise(done => setTimeout(done, ms));
