// SPDX-License-Identifier: MIT
//
// ws on Node: /relay/NAME, /topic/NAME[,NAME...], /publish/NAME and /echo; at /ws rooms, in JSON.
// A text message goes out as it came in, without a detour over a string.
const fs = require("fs");
const { randomUUID } = require("crypto");
const { WebSocketServer } = require("ws");
const { PEER_CERT, PEER_KEY, PEER_DEFLATE } = process.env;

const http = PEER_CERT
	? require("https").createServer({ cert: fs.readFileSync(PEER_CERT), key: fs.readFileSync(PEER_KEY) })
	: require("http").createServer();
const server = new WebSocketServer({ server: http, maxPayload: 16 << 20, perMessageDeflate: PEER_DEFLATE === "1" });
const topics = new Map();

function membersOf(name) {
	if (!topics.has(name)) topics.set(name, new Set());
	return topics.get(name);
}

let users = 0;

// Rooms as a server on ws would have them: what is said is checked, and written once for all who get it.
function serveRooms(socket) {
	const user = `u${users++}`, rooms = new Map();
	socket.send(JSON.stringify({ type: "welcome", userId: user, serverTime: new Date().toISOString() }));
	const fail = (code) => socket.send(JSON.stringify({ type: "error", code }));
	socket.on("close", () => rooms.forEach((members) => members.delete(socket)));
	socket.on("message", (bytes) => {
		let message;
		try {
			message = JSON.parse(bytes);
		} catch {
			return fail("INVALID_JSON");
		}
		const { type, room, content } = message;
		if (typeof room !== "string") return fail("MISSING_FIELD");
		if (type === "join_room") {
			rooms.set(room, membersOf(room).add(socket));
			return socket.send(JSON.stringify({ type: "room_joined", room }));
		}
		if (type !== "room_message") return fail("UNKNOWN_TYPE");
		if (typeof content !== "string" || content.length > 1000) return fail("INVALID_FIELD");
		if (!rooms.has(room)) return fail("NOT_A_MEMBER");
		const text = JSON.stringify({ type, id: randomUUID(), from: user, room, content, timestamp: Date.now() });
		for (const member of rooms.get(room)) if (member !== socket) member.send(text);
	});
}

server.on("connection", (socket, request) => {
	socket.on("error", () => {});
	const [, job, names] = request.url.split("/");
	if (job === "ws") return serveRooms(socket);
	if (job === "echo") {
		socket.on("message", (message, binary) => socket.send(message, { binary }));
		return;
	}
	if (job !== "publish") {
		const mine = names.split(",").map(membersOf);
		for (const members of mine) members.add(socket);
		socket.on("close", () => mine.forEach((members) => members.delete(socket)));
	}
	if (job !== "topic") {
		socket.on("message", (message, binary) => {
			for (const member of membersOf(names)) member.send(message, { binary });
		});
	}
});
http.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
