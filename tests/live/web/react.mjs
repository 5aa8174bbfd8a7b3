// SPDX-License-Identifier: MIT
/** react.mjs HOST:PORT, in a project with ringcast, react and react-test-renderer: the hooks, against the real server. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { createElement as h, StrictMode } from "react";
import { act, create } from "react-test-renderer";
import { Ringcast } from "ringcast";
import { RingcastProvider, useConnection, useRingcast, useRoom, useTopic } from "ringcast/react";

const host = process.argv[2], clients = [];
globalThis.IS_REACT_ACT_ENVIRONMENT = true;
const complaints = [];
console.error = (...words) => void (/deprecated/.test(words[0]) || complaints.push(words.join(" ")));

function client(user) {
	const one = new Ringcast(`ws://${host}/ws/${user}`);
	clients.push(one);
	return one;
}

const publish = (topic, data) => act(() => fetch(`http://${host}/api/publish`, { method: "POST", body: JSON.stringify({ topic, data }) }));

/** Lets time pass, as React wants it, until the condition holds. */
async function until(condition, limit = 15_000) {
	for (const end = Date.now() + limit; !condition(); ) {
		if (Date.now() > end) throw new Error(`never came: ${condition}`);
		await act(() => new Promise(done => setTimeout(done, 10)));
	}
}

async function show(one, ...children) {
	let shown;
	await act(async () => void (shown = create(h(StrictMode, null, h(RingcastProvider, { client: one }, ...children)))));
	return shown;
}

after(() => clients.forEach(one => one.close()));

test("useTopic shows the newest, to two components by one subscription, and stops with the last", async () => {
	const one = client("a"), Price = ({ name }) => `${name} ${useTopic(`prices.${name}`, "none")}`;
	await publish("prices.EUR", 1);
	const shown = await show(one, h(Price, { name: "EUR", key: 1 }), h(Price, { name: "GBP", key: 2 }), h(Price, { name: "EUR", key: 3 }));
	const text = () => shown.toJSON();
	assert.match(text().join(), /^EUR (none|1),GBP none,EUR (none|1)$/);
	await until(() => text()[0] === "EUR 1" && text()[2] === "EUR 1");
	await publish("prices.EUR", 2);
	await publish("prices.GBP", 3);
	await until(() => text().join() === "EUR 2,GBP 3,EUR 2");
	await act(async () => shown.update(h(RingcastProvider, { client: one }, h(Price, { name: "GBP", key: 2 }))));
	assert.equal(text(), "GBP 3");
	await act(async () => shown.unmount());
});

test("useRoom has what others and we say, and leaves with its component", async () => {
	const one = client("b"), other = client("c"), left = [];
	let room;
	const Chat = ({ name }) => {
		room = useRoom(name, { max: 3 });
		return room.messages.map(message => `${message.from}: ${message.content}`).join("|");
	};
	other.on("user_left", message => left.push(message.userId));
	await other.join("lobby");
	const shown = await show(one, h(Chat, { name: "lobby" }));
	await until(() => room.joined);
	await other.say("lobby", "hello");
	await until(() => shown.toJSON() === "c: hello");
	await act(() => room.say("good day"));
	assert.equal(shown.toJSON(), "c: hello|b: good day");
	for (const words of ["x", "y"]) await act(() => room.say(words));
	assert.equal(shown.toJSON(), "b: good day|b: x|b: y");
	left.length = 0;
	await act(async () => shown.unmount());
	await until(() => left.includes("b"));
});

test("useRoom tells why it could not be entered; useConnection tells the state", async () => {
	const one = client("d");
	let room, state;
	const Chat = () => {
		room = useRoom("x".repeat(5_000));
		state = useConnection();
		return null;
	};
	const shown = await show(one, h(Chat));
	await until(() => room.error);
	assert.equal(room.joined, false);
	assert.equal(room.error.name, "RingcastError");
	assert.equal(state, "open");
	await act(async () => one.close());
	assert.equal(state, "closed");
	await act(async () => shown.unmount());
});

test("without a provider it says what is missing", async () => {
	let why;
	const Lost = () => {
		try {
			useRingcast();
		} catch (error) {
			why = error.message;
		}
		return null;
	};
	await act(async () => void create(h(Lost)));
	assert.match(why, /RingcastProvider/);
});

test("React had nothing to complain about", () => assert.deepEqual(complaints, []));
