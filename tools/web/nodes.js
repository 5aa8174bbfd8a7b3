// SPDX-License-Identifier: MIT
/**
 * nodes.js - the nodes of a backplane, one a row, and their sum: whom each serves, what it says and hears a second, how far
 * it is behind, and whether it has all that the engine has. It must not need more than /api/stats says of any node.
 *
 * A node's figures are its own and as old as it says. So rates are of its own clock: between two of its figures.
 */
const QUIET_SECONDS = 3, GONE_MS = 15_000;

/** @type {Map<string, {name: string, at: number}>} who was here, and when last */ const seen = new Map();
/** @type {Map<string, Record<string, number>>} the last rates by node */ const rates = new Map();

/** What all nodes did together a second, between two answers of /api/stats.
 *  @param {any} now @param {any} before @param {string} name a counter @returns {number} */
export function rateOfAll(now, before, name) {
	const old = new Map(before.nodes.map((/** @type {any} */ node) => [node.node, node]));
	return now.nodes.reduce((/** @type {number} */ sum, /** @type {any} */ node) => sum + rateOf(node, old.get(node.node), name), 0);
}

/** @param {any} now @param {any} before @param {string} name */
function rateOf(now, before, name) {
	const known = rates.get(now.node) ?? {};
	rates.set(now.node, known);
	// A node that said nothing new does what it did.
	if (before?.age != null && now.age !== null && now.uptime > before.uptime)
		known[name] = Math.max(0, now[name] - before[name]) / (now.uptime - before.uptime);
	return known[name] ?? 0;
}

/** @param {any} node */
function stateOf(node) {
	if (node.age === null) return "not heard of yet";
	if (node.age > QUIET_SECONDS) return `silent for ${Math.round(node.age)} s`;
	return node.backplane.up ? "whole" : node.backplane.why || "degraded";
}

/** @param {HTMLTableSectionElement} body @param {string[]} cells @param {string} state */
function addRow(body, cells, state) {
	const row = body.insertRow();
	row.dataset.state = state === "whole" ? "whole" : "degraded";
	cells.forEach((text, index) => {
		const cell = row.insertCell();
		cell.textContent = text;
		cell.className = index < 2 ? "" : index === 2 || index === 5 ? "number" : "number more";
	});
}

/** @param {number} ms */
const inMs = ms => `${ms.toFixed(1)} ms`;

/** @param {any} app what /api/stats says @param {(name: string, node?: any) => number|null} rate of all nodes, or of one
 *  @param {(value: number) => string} short */
export function showNodes(app, rate, short) {
	const card = /** @type {HTMLElement} */ (document.querySelector("#nodes"));
	const table = /** @type {HTMLTableElement} */ (card.querySelector("table")), body = table.tBodies[0];
	const nodes = [...(app.nodes ?? [])].sort((a, b) => ((a.name ?? "~") < (b.name ?? "~") ? -1 : 1)), now = Date.now();
	card.hidden = !nodes.length;
	if (!nodes.length) return;
	const perSecond = (/** @type {string} */ name, /** @type {any} */ node = undefined) => {
		const value = rate(name, node);
		return value === null ? "–" : short(value);
	};
	body.replaceChildren();
	for (const node of nodes) {
		const state = stateOf(node), name = node.name ?? node.node, known = node.age !== null;
		seen.set(node.node, { name, at: now });
		addRow(body, [node.own ? `${name} (this one)` : name, state, ...known ? [short(node.connectedClients), short(node.users),
			perSecond("messagesReceived", node), perSecond("messagesSent", node), inMs(node.backplane.lagMs)]
			: ["–", "–", "–", "–", "–"]], state);
	}
	for (const [node, { name, at }] of seen) {
		if (at === now) continue;
		if (now - at > GONE_MS) [seen, rates].forEach(map => map.delete(node));
		else addRow(body, [name, "gone", "–", "–", "–", "–", "–"], "gone");
	}
	const whole = nodes.every(node => stateOf(node) === "whole"), lag = Math.max(...nodes.map(node => node.backplane?.lagMs ?? 0));
	table.tFoot?.replaceChildren();
	addRow(/** @type {HTMLTableSectionElement} */ (table.tFoot), [`${nodes.length} nodes`, whole ? "whole" : "not all are whole",
		short(app.connectedClients), short(app.users), perSecond("messagesReceived"), perSecond("messagesSent"), inMs(lag)],
	whole ? "whole" : "degraded");
}

/** What one node did a second. @param {any} before an answer of /api/stats @param {any} node @param {string} name */
export const rateOfNode = (before, node, name) =>
	rateOf(node, before.nodes.find((/** @type {any} */ each) => each.node === node.node), name);
