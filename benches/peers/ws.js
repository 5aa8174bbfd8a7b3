// SPDX-License-Identifier: MIT
//
// ws on Node: /relay/NAME, /topic/NAME[,NAME...], /publish/NAME and /echo.
// A text message goes out as it came in, without a detour over a string.
const fs = require("fs");
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

server.on("connection", (socket, request) => {
	socket.on("error", () => {});
	const [, job, names] = request.url.split("/");
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
