// nats.mjs PORT PREFIX TO TEXT: publishes to ringcast's clients by the bare protocol of NATS; TO is topic/NAME,
// room/NAME, user/NAME or all. Any client of NATS does the same: nats pub PREFIX.topic.NAME TEXT
import net from "node:net";

const [port, prefix, to, text] = process.argv.slice(2);
const socket = net.connect(Number(port), "127.0.0.1", () => {
	socket.write('CONNECT {"verbose":false}\r\n');
	socket.write(`PUB ${prefix}.${to.replace("/", ".")} ${Buffer.byteLength(text)}\r\n${text}\r\nPING\r\n`);
});
socket.on("data", (data) => {
	if (String(data).includes("PONG"))
		socket.end();
	if (String(data).includes("-ERR"))
		throw new Error(String(data));
});
