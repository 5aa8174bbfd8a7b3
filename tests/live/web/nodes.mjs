// SPDX-License-Identifier: MIT
/** nodes.mjs PROGRAM NODE_MODULES CHROMIUM PICTURES URL PID: the dashboard of three nodes on the engine at URL, whose
 *  process is ended last. */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { App } from "./app.mjs";

const [program, modules, executablePath, pictures, url, pid] = process.argv.slice(2);
const WebSocket = globalThis.WebSocket ?? createRequire(import.meta.url)("ws");
const { chromium } = createRequire(join(modules, "x.js"))("playwright-core");
const ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"];
const PATIENCE_MS = 30_000;

const nodes = [0, 1, 2].map(() => new App(program, ["--backplane", url]));
const complaints = [];
let browser, page;

before(async () => {
	for (const node of nodes) await node.start();
	browser = await chromium.launch({ executablePath, headless: true, args: ARGUMENTS });
	page = await browser.newPage();
	page.on("pageerror", error => complaints.push(error.message));
	page.on("console", message => /Content Security Policy|Uncaught/.test(message.text()) && complaints.push(message.text()));
	await page.goto(`http://${nodes[0].url}/`);
});

after(async () => {
	await browser?.close();
	for (const node of nodes) await node.stop();
});

/** Waits until the table's rows that count, and its sum's, are these: texts, or patterns. */
async function rows(want, counts = () => true) {
	let got;
	for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await page.waitForTimeout(200)) {
		got = (await page.$$eval("#nodes tbody tr, #nodes tfoot tr", list =>
			list.map(row => [...row.cells].map(cell => cell.textContent)))).filter(counts);
		if (got.length === want.length && want.every((row, at) => row.every((cell, index) =>
			cell instanceof RegExp ? cell.test(got[at][index]) : got[at][index] === cell))) return;
	}
	assert.deepEqual(got, want);
}

const names = () => nodes.map(node => (node === nodes[0] ? `${node.url} (this one)` : node.url));
const inOrder = list => [...list].sort((a, b) => (a[0] < b[0] ? -1 : 1));
const number = /^\d/, none = "–";

test("three nodes, what they do, and their sum", async () => {
	const clients = nodes.flatMap(({ url }, n) => Array.from({ length: n + 1 }, (_, index) => new WebSocket(`ws://${url}/ws/u${n}${index}`)));
	// The page is a client, too, and a user.
	const each = names().map((name, n) => [name, "whole", String(n + 1 + (n === 0)), String(n + 1 + (n === 0)), number, number, / ms$/]);
	await rows([...inOrder(each), ["3 nodes", "whole", "7", "7", number, number, / ms$/]]);
	// What one says is in the rate of its node, and of nobody else.
	const timer = setInterval(() => clients.at(-1).send('{"type":"ping"}'), 20);
	timer.unref();
	const busy = each.map((row, n) => (n === 2 ? [...row.slice(0, 4), /^([5-9]|\d\d)/, ...row.slice(5)] : row));
	await rows([...inOrder(busy), ["3 nodes", "whole", "7", "7", /^([5-9]|\d\d)/, number, / ms$/]]);
	clearInterval(timer);
	await page.screenshot({ path: join(pictures, "web-nodes.png"), fullPage: true });
});

test("on a telephone it is no wider than the window", async () => {
	await page.setViewportSize({ width: 320, height: 700 });
	const size = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
	await page.screenshot({ path: join(pictures, "web-nodes-320.png"), fullPage: true });
	assert.equal(size[0], size[1]);
	await page.setViewportSize({ width: 1280, height: 900 });
});

test("one is killed: it is gone, its figures with it; the engine is away: that is said", async () => {
	await nodes[2].stop("SIGKILL");
	const left = names().slice(0, 2).map((name, n) => [name, "whole", String(n + 1 + (n === 0)), String(n + 1 + (n === 0))]);
	await rows([...inOrder(left), [nodes[2].url, "gone", none, none, none, none, none], ["2 nodes", "whole", "4", "4"]]);
	process.kill(+pid, "SIGKILL");
	const [own] = names(), away = [[own, /^the backplane is away: /], [nodes[1].url, /^silent for \d+ s$/]];
	const ends = [["2 nodes", "not all are whole"]];
	await rows([...inOrder(away), ...ends], row => row[1] !== "gone");
	assert.deepEqual(complaints, []);
});
