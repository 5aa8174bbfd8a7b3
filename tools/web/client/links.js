// SPDX-License-Identifier: MIT
/**
 * links.js - the three ways to the server: a WebSocket, server-sent events, long polling. A link carries messages and tells
 * its listener what happens. It must not know what a message means, and it never connects a second time.
 *
 * Invariant: after close() a link tells its listener nothing.
 */
/** @import { Link, Listener, Transport } from "./types.js" */
import { parse } from "./values.js";

const POLL_PAUSE_MS = 1_000;
const SILENCE_MAX_MS = 90_000; // of a stream of events, or of one poll

/** @implements {Link} */
export class SocketLink {
	/** @type {Transport} */ kind = "websocket";
	#socket;

	/** @param {any} make a WebSocket constructor @param {string} address @param {string[]} protocols
	 *  @param {Listener} listener */
	constructor(make, address, protocols, listener) {
		this.#socket = new make(address, protocols);
		this.#socket.onmessage = (/** @type {any} */ event) => {
			const message = typeof event.data === "string" ? parse(event.data) : null;
			if (message) listener.heard(message);
		};
		this.#socket.onerror = () => {}; // a close follows, and says more
		this.#socket.onclose = (/** @type {any} */ event) => listener.ended(event.code, event.reason);
	}

	/** @param {string} text */
	send(text) {
		if (this.#socket.readyState === 1) this.#socket.send(text);
	}

	close(code = 1000, reason = "") {
		this.#socket.onmessage = this.#socket.onclose = null;
		this.#socket.close(code, reason);
	}
}

/** What both ways over plain HTTP share: one request after another, until close(). @implements {Link} */
class HttpLink {
	/** @type {Transport} */ kind = "poll";
	/** @type {AbortController} */ abort = new AbortController();
	/** @type {any} */ #timer;

	/** @param {() => Promise<void>} run @param {Listener} listener */
	start(run, listener) {
		let code = 1006;
		run().then(() => "ended", error => ((code = error.close ?? code), String(error.message ?? error))).then(reason => {
			clearTimeout(this.#timer);
			if (!this.abort.signal.aborted) listener.ended(code, reason);
			else if (this.abort.signal.reason === "silence") listener.ended(1006, "nothing heard");
		});
	}

	/** Begins anew to measure how long the server is silent. */
	listen() {
		clearTimeout(this.#timer);
		this.#timer = setTimeout(() => this.abort.abort("silence"), SILENCE_MAX_MS);
	}

	/** @param {string} address @param {Record<string, string>} headers */
	async fetch(address, headers) {
		this.listen();
		const answer = await fetch(address, { headers, signal: this.abort.signal, cache: "no-store" });
		// As a WebSocket would have been closed.
		if (!answer.ok) throw Object.assign(new Error(`HTTP ${answer.status}`), { close: 3000 + answer.status });
		return answer;
	}

	send() {}

	close() {
		clearTimeout(this.#timer);
		this.abort.abort("closed");
	}
}

/** Server-sent events, by fetch: EventSource cannot send a token, and cannot begin where we want. */
export class EventsLink extends HttpLink {
	/** @param {string} address @param {Record<string, string>} headers @param {Listener} listener
	 *  @param {(id: string) => void} tellId is told each event's id */
	constructor(address, headers, listener, tellId) {
		super();
		this.kind = /** @type {Transport} */ ("sse");
		this.start(() => this.#run(address, headers, listener, tellId), listener);
	}

	/** @param {string} address @param {Record<string, string>} headers @param {Listener} listener
	 *  @param {(id: string) => void} tellId */
	async #run(address, headers, listener, tellId) {
		const answer = await this.fetch(address, { ...headers, Accept: "text/event-stream" });
		if (!answer.body || !/^text\/event-stream/i.test(answer.headers.get("Content-Type") ?? ""))
			throw new Error("the answer is not a stream of events");
		listener.opened();
		const reader = answer.body.getReader(), decoder = new TextDecoder();
		let rest = "", data = "", id = "";
		for (;;) {
			const { done, value } = await reader.read();
			if (done) return;
			this.listen();
			rest += decoder.decode(value, { stream: true });
			// A lone CR at the end may be the first half of a CRLF.
			const lines = rest.split(/\r\n|\n|\r(?!$)/);
			rest = lines.pop() ?? "";
			for (const line of lines) {
				const [, field, text] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
				if (field === "data") data += (data && "\n") + text;
				else if (field === "id") id = text;
				if (line !== "") continue;
				const message = data && parse(data);
				data = "";
				if (message) listener.heard(message);
				if (id) tellId(id);
			}
		}
	}
}

export class PollLink extends HttpLink {
	/** @param {() => string} address of the next request @param {Record<string, string>} headers @param {Listener} listener */
	constructor(address, headers, listener) {
		super();
		this.start(() => this.#run(address, headers, listener), listener);
	}

	/** @param {() => string} address @param {Record<string, string>} headers @param {Listener} listener */
	async #run(address, headers, listener) {
		for (let first = true; !this.abort.signal.aborted; first = false) {
			const begin = Date.now();
			const answer = await this.fetch(address(), headers);
			const page = answer.status === 204 ? {} : parse(await answer.text());
			if (!page || typeof page !== "object") throw new Error("the answer to a poll is not JSON");
			if (first) listener.opened();
			if (page.topics) listener.heard({ type: "subscribed", topics: page.topics });
			for (const message of page.messages ?? []) listener.heard(message);
			// A server that answers at once with nothing is asked again after a pause.
			if (!page.messages?.length && Date.now() - begin < POLL_PAUSE_MS)
				await new Promise(done => setTimeout(done, POLL_PAUSE_MS));
		}
	}
}
