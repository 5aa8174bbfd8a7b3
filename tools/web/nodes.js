// SPDX-License-Identifier: MIT
/**
 * nodes.js - the nodes of a backplane, one a row: whether each is up, whom it serves, how far behind it is. A page knows
 * the node that served it; of others only what ?nodes=/PATH,/PATH names, paths under which a proxy hands on to each. It
 * must not need more than /stats says.
 */
const one = (/** @type {string} */ selector) => /** @type {any} */ (document.querySelector(selector));
const paths = (new URLSearchParams(location.search).get("nodes") ?? "").split(",").filter(path => path.startsWith("/"));
/** @type {Map<string, {at: number, deliveries: number}>} */ const before = new Map();

/** @param {string} path */
async function ask(path) {
	const key = sessionStorage.getItem("ringcast.key");
	/** @type {Record<string, string>} */
	const headers = key ? { Authorization: `Bearer ${key}` } : {};
	const answer = await fetch(`${path}/stats`, { headers, cache: "no-store", signal: AbortSignal.timeout(3_000) });
	return answer.ok ? answer.json() : null;
}

/** Cells of a row. @param {string} path @param {any} stats */
function cells(path, stats) {
	const name = path || "this node", backplane = stats?.backplane;
	if (!stats) return [name, "does not answer", "", "", "", ""];
	const now = { at: performance.now(), deliveries: stats.total.deliveries }, then = before.get(path);
	before.set(path, now);
	const rate = then && now.deliveries >= then.deliveries
		? Math.round((now.deliveries - then.deliveries) * 1000 / (now.at - then.at)) : null;
	return [name, !backplane ? "alone" : backplane.up ? "up" : backplane.why, String(stats.total.connections),
		rate === null ? "–" : String(rate), backplane ? `${(backplane.lag_seconds * 1000).toFixed(1)} ms` : "–",
		backplane ? String(backplane.queue) : "–"];
}

async function look() {
	const asked = paths.length ? paths : [""];
	const rows = await Promise.all(asked.map(path => ask(path).catch(() => null).then(stats => cells(path, stats))));
	const shown = paths.length > 0 || rows.some(row => row[1] !== "alone" && row[1] !== "does not answer");
	one("#nodes").hidden = !shown;
	one("#nodes tbody").replaceChildren(...rows.map(row => {
		const line = document.createElement("tr");
		row.forEach((text, index) => {
			const cell = line.insertCell();
			cell.textContent = text;
			cell.className = index > 1 ? "number" : "";
		});
		line.dataset.up = String(row[1] === "up");
		return line;
	}));
	setTimeout(look, 1_000);
}

look();
