// service.mjs PORT QUEUE: a service that works on what clients send, by the bare protocol of NATS: it prints who sent
// what. Several of them share the work. What one has not acknowledged when it dies, JetStream gives to another.
import net from "node:net";

const [port, queue] = process.argv.slice(2);
const stream = queue.replaceAll(".", "-");
const publish = (subject, reply, text) => socket.write(`PUB ${subject} ${reply} ${Buffer.byteLength(text)}\r\n${text}\r\n`);
const ask = () => publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.services`, "jobs", '{"batch":1,"expires":1000000000}');
const socket = net.connect(Number(port), "127.0.0.1", () => {
	socket.write('CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB jobs 1\r\nSUB made 2\r\n');
	const config = { durable_name: "services", ack_policy: "explicit", ack_wait: 30e9 };
	publish(`$JS.API.CONSUMER.DURABLE.CREATE.${stream}.services`, "made", JSON.stringify({ stream_name: stream, config }));
});

let buffer = Buffer.alloc(0);
socket.on("data", (data) => {
	buffer = Buffer.concat([buffer, data]);
	for (let end; (end = buffer.indexOf("\r\n")) >= 0;) {
		const words = buffer.toString("utf8", 0, end).split(" "), size = Number(words.at(-1));
		const has = words[0] === "HMSG" || words[0] === "MSG";
		if (has && buffer.length < end + size + 4)
			return;
		take(words, buffer.subarray(end + 2, end + 2 + (has ? size : 0)));
		buffer = buffer.subarray(end + 2 + (has ? size + 2 : 0));
	}
});

// HMSG jobs 1 [WHERE TO ACKNOWLEDGE] SIZE OF HEADERS, SIZE OF ALL
function take(words, bytes) {
	if (words[0] === "PING")
		return socket.write("PONG\r\n");
	if (words[1] === "made" && String(bytes).includes('"error"'))
		throw new Error(String(bytes));
	if (words[0] !== "HMSG" && words[1] !== "made")
		return;
	const headers = Object.fromEntries(String(bytes.subarray(0, words.at(-2))).split("\r\n").map((line) => line.split(": ")));
	if (headers["Ringcast-User"]) {
		console.log(headers["Ringcast-User"], headers["Ringcast-Id"], String(bytes.subarray(words.at(-2))));
		publish(words[3], "", "+ACK");
	}
	ask();
}
