// SPDX-License-Identifier: MIT
/** react.js - hooks for React 18 and newer, an example: copy it, or import "ringcast/react". A room is one component's. */
import { createContext, createElement, useCallback, useContext, useEffect, useState, useSyncExternalStore } from "react";

const Context = createContext(/** @type {any} */ (null)), stores = new WeakMap();
/** Its children use this client. @param {{client: any, children?: any}} properties */
export function RingcastProvider({ client, children }) {
	return createElement(Context.Provider, { value: client }, children);
}

export function useRingcast() {
	const client = useContext(Context);
	if (!client) throw new Error("there is no RingcastProvider above this component");
	return client;
}

/** The state of the connection: "connecting", "open", "waiting", "failed", "closed". @returns {string} */
export function useConnection() {
	const client = useRingcast(), watch = useCallback((/** @type {() => void} */ changed) => client.on("state", changed), [client]);
	return useSyncExternalStore(watch, () => client.state, () => "idle");
}

/** One subscription of a topic, for all components that show it. @param {any} client @param {string} topic */
function storeOf(client, topic) {
	const all = stores.get(client) ?? new Map();
	if (all.has(topic)) return all.get(topic);
	/** @type {any} */ let data, stop = () => {};
	const listeners = new Set(), heard = (/** @type {any} */ value) => (data = value, listeners.forEach(each => each()));
	const watch = (/** @type {() => void} */ listener) => {
		if (!listeners.size) stop = client.subscribe(topic, heard, { last: true });
		listeners.add(listener);
		return () => void (listeners.delete(listener) && !listeners.size && stop());
	};
	stores.set(client, all.set(topic, { watch, read: () => data }));
	return all.get(topic);
}

/** The newest data of a topic. @param {string} topic @param {any} [first] until there is some @returns {any} */
export function useTopic(topic, first) {
	const store = storeOf(useRingcast(), topic);
	return useSyncExternalStore(store.watch, store.read, () => undefined) ?? first;
}

/** A room while the component is shown, with its newest messages. @param {string} room @param {{max?: number}} [options] */
export function useRoom(room, { max = 100 } = {}) {
	const client = useRingcast(), [messages, setMessages] = useState(/** @type {any[]} */ ([])), [state, setState] = useState({ joined: false, error: null });
	const add = useCallback((/** @type {any} */ message) => setMessages(all => [...all, message].slice(-max)), [max]);
	useEffect(() => {
		let shown = true;
		const off = client.on("room_message", message => message.room === room && add(message));
		client.join(room).then(() => shown && setState({ joined: true, error: null }), error => shown && setState({ joined: false, error }));
		return () => (shown = false, off(), setMessages([]), setState({ joined: false, error: null }), client.leave(room));
	}, [client, room, add]);
	const say = useCallback((/** @type {any} */ content) => {
		add({ type: "room_message", from: client.userId, room, content, timestamp: Date.now(), mine: true });
		return client.say(room, content);
	}, [client, room, add]);
	return { messages, say, ...state };
}
