// SPDX-License-Identifier: MIT
//
// socket.io on Node: rooms, as its users write them.
const { randomUUID } = require("crypto");
const { Server } = require("socket.io");

const http = require("http").createServer();
const server = new Server(http, { transports: ["websocket"], serveClient: false });
let users = 0;

server.on("connection", (socket) => {
	const user = `u${users++}`;
	socket.on("join_room", ({ room }) => {
		socket.join(room);
		socket.emit("room_joined", { room });
	});
	socket.on("room_message", ({ room, content }) => {
		if (typeof content !== "string" || content.length > 1000) return socket.emit("error", { code: "INVALID_FIELD" });
		if (!socket.rooms.has(room)) return socket.emit("error", { code: "NOT_A_MEMBER" });
		socket.to(room).emit("room_message", { id: randomUUID(), from: user, room, content, timestamp: Date.now() });
	});
});
http.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
