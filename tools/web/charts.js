// SPDX-License-Identifier: MIT
/**
 * charts.js - a line chart of the last two minutes, in SVG. It must not know what it draws. push() brings one value a
 * series. The value null means "not known", and leaves a hole in the line.
 */
const SVG = "http://www.w3.org/2000/svg";
const KEPT_MS = 120_000, LEAST_MS = 30_000;
const HEIGHT = 132, TOP = 8, BOTTOM = 18, LEFT = 4, RIGHT = 54;

/** @param {string} name @param {Record<string, any>} [attributes] */
function svg(name, attributes = {}) {
	const element = document.createElementNS(SVG, name);
	for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
	return element;
}

/** The next of 1, 2, 5, 10, 20 ... that is not below a value. @param {number} value */
function roundUp(value) {
	const power = 10 ** Math.floor(Math.log10(value)), lead = value / power;
	return (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10) * power;
}

export class Chart {
	#points = /** @type {{at: number, values: (number|null)[]}[]} */ ([]);
	#picture = svg("svg", { role: "img" });
	#tip = document.createElement("div");
	#legend = document.createElement("p");
	#width = 320;
	#pointer = /** @type {number|null} */ (null);

	/** @param {Element} parent
	 *  @param {{title: string, series: string[], floor: number, format: (value: number) => string}} what the top of the
	 *  scale never falls below `floor` */
	constructor(parent, what) {
		this.what = what;
		const card = document.createElement("article");
		const title = document.createElement("h2");
		card.className = "card chart";
		title.textContent = what.title;
		this.#legend.className = "legend";
		this.#tip.className = "tip";
		this.#tip.hidden = true;
		card.append(title, this.#legend, this.#picture, this.#tip);
		parent.append(card);
		new ResizeObserver(([entry]) => {
			this.#width = Math.max(160, entry.contentRect.width - 28);
			this.draw();
		}).observe(card);
		this.#picture.addEventListener("pointermove", event => {
			this.#pointer = event.clientX - this.#picture.getBoundingClientRect().left;
			this.draw();
		});
		this.#picture.addEventListener("pointerleave", () => {
			this.#pointer = null;
			this.draw();
		});
	}

	/** @param {number} at @param {(number|null)[]} values */
	push(at, values) {
		this.#points.push({ at, values });
		while (this.#points[0].at < at - KEPT_MS - 2_000) this.#points.shift();
		this.draw();
	}

	draw() {
		const { series, floor, format } = this.what, last = this.#points.at(-1);
		const now = last?.at ?? 0, width = this.#width, right = width - RIGHT;
		// The span grows with the points, so that a new chart is not mostly empty.
		const age = Math.ceil((now - (this.#points[0]?.at ?? now)) / 10_000) * 10_000;
		const span = Math.min(KEPT_MS, Math.max(LEAST_MS, age));
		const highest = Math.max(0, ...this.#points.flatMap(point => point.values.map(value => value ?? 0)));
		const top = Math.max(floor, roundUp(highest || floor));
		const x = (/** @type {number} */ at) => LEFT + (right - LEFT) * (1 - (now - at) / span);
		const y = (/** @type {number} */ value) => HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (value / top);
		const parts = [];
		for (const share of [0, 0.5, 1]) {
			const level = Math.round(y(top * share)) + 0.5;
			parts.push(svg("line", { class: share ? "grid" : "base", x1: LEFT, x2: right, y1: level, y2: level }));
			const label = svg("text", { class: "axis", x: right + 6, y: level + 4 });
			label.textContent = format(top * share);
			parts.push(label);
		}
		for (const [share, anchor] of /** @type {[number, string][]} */ ([[1, "start"], [0.5, "middle"], [0, "end"]])) {
			const label = svg("text", { class: "axis", x: x(now - span * share), y: HEIGHT - 3, "text-anchor": anchor });
			label.textContent = share ? `${(span * share) / 1000} s ago` : "now";
			parts.push(label);
		}
		for (let index = 0; index < series.length; index++) parts.push(...this.#lines(index, x, y));
		parts.push(...this.#crosshair(x, y));
		this.#picture.replaceChildren(...parts);
		this.#picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
		this.#picture.setAttribute("aria-label", `${this.what.title}: ${this.#say(last)}`);
		this.#legend.replaceChildren(...series.map((name, index) => {
			const item = document.createElement("span"), value = document.createElement("b");
			const newest = last?.values[index];
			item.className = `key series-${index}`;
			value.textContent = newest == null ? "–" : format(newest);
			item.append(value, name && ` ${name}`);
			return item;
		}));
	}

	/** @param {{values: (number|null)[]}|undefined} point */
	#say(point) {
		return this.what.series
			.map((name, index) => {
				const value = point?.values[index];
				return `${value == null ? "–" : this.what.format(value)} ${name}`.trim();
			})
			.join(", ");
	}

	/** @param {number} index @param {(at: number) => number} x @param {(value: number) => number} y */
	#lines(index, x, y) {
		let line = "", area = "", begin = 0, end = 0, open = false;
		const shown = this.#points.filter(point => x(point.at) >= LEFT - 3);
		for (const point of shown) {
			const value = point.values[index];
			if (value == null) {
				if (open) area += `L${end} ${y(0)}L${begin} ${y(0)}Z`;
				open = false;
				continue;
			}
			end = +x(point.at).toFixed(1);
			// A value that stands alone is drawn as a dot, which is a line of no length with round ends.
			if (!open) begin = end;
			line += `${open ? "L" : "M"}${end} ${y(value).toFixed(1)}${open ? "" : "h0"}`;
			area += `${open ? "L" : "M"}${end} ${y(value).toFixed(1)}`;
			open = true;
		}
		if (open) area += `L${end} ${y(0)}L${begin} ${y(0)}Z`;
		const drawn = [svg("path", { class: `line series-${index}`, d: line || "M0 0" })];
		if (this.what.series.length === 1) drawn.unshift(svg("path", { class: `area series-${index}`, d: area || "M0 0" }));
		return drawn;
	}

	/** @param {(at: number) => number} x @param {(value: number) => number} y */
	#crosshair(x, y) {
		const pointer = this.#pointer;
		const known = this.#points.filter(point => x(point.at) >= LEFT - 3);
		this.#tip.hidden = pointer === null || !known.length;
		if (pointer === null || !known.length) return [];
		const near = known.reduce((best, each) =>
			Math.abs(x(each.at) - pointer) < Math.abs(x(best.at) - pointer) ? each : best);
		const at = x(near.at);
		this.#tip.textContent = `${new Date(performance.timeOrigin + near.at).toLocaleTimeString([], { hour12: false })}  ${this.#say(near)}`;
		this.#tip.classList.toggle("left", at > this.#width / 2);
		this.#tip.style.setProperty("--at", `${at}px`);
		const marks = near.values.flatMap((value, index) =>
			value == null ? [] : [svg("circle", { class: `dot series-${index}`, cx: at, cy: y(value), r: 3.5 })]);
		return [svg("line", { class: "cross", x1: at, x2: at, y1: TOP, y2: HEIGHT - BOTTOM }), ...marks];
	}
}
