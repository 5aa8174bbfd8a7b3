// SPDX-License-Identifier: MIT
//
// Bun's own server with its built-in topics: /relay/NAME, /topic/NAME[,NAME...], /publish/NAME and /echo.
const { PEER_CERT, PEER_KEY, PEER_DEFLATE } = process.env;
const server = Bun.serve({
	port: Number(process.argv[2]),
	hostname: "127.0.0.1",
	tls: PEER_CERT ? { cert: Bun.file(PEER_CERT), key: Bun.file(PEER_KEY) } : undefined,
	fetch(request, server) {
		const path = new URL(request.url).pathname;
		const [, job, names] = path.split("/");
		const data = {
			topics: job === "topic" ? names.split(",") : job === "relay" ? [names] : [],
			publishes: job === "publish" || job === "relay" ? names : null,
			echoes: job === "echo",
		};
		if (server.upgrade(request, { data })) return;
		return new Response("no", { status: 404 });
	},
	websocket: {
		maxPayloadLength: 16 << 20,
		backpressureLimit: 64 << 20,
		idleTimeout: 0,
		perMessageDeflate: PEER_DEFLATE === "1",
		open(socket) {
			for (const topic of socket.data.topics) socket.subscribe(topic);
		},
		message(socket, message) {
			const compress = PEER_DEFLATE === "1";
			if (socket.data.publishes) server.publish(socket.data.publishes, message, compress);
			else if (socket.data.echoes) socket.send(message, compress);
		},
	},
});
