// SPDX-License-Identifier: MIT
//
// cohort.mjs URL MODULES CHROMIUM: a browser reads cohort streams and takes part in them at any time. The server has --echo
// --deflate --cohort 'hot*'; messages are told apart by what they hold, so a stream that is wrong by a byte is seen.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

const [url, modules, executablePath] = process.argv.slice(2);
const { chromium } = createRequire(join(modules, "x.js"))("playwright-core");
const ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
	"--disable-background-networking", "--disable-component-update", "--disable-sync"];
let browser, profile;

before(async () => {
	profile = mkdtempSync(join(tmpdir(), "ringcast-browser-"));
	browser = await chromium.launchPersistentContext(profile, { executablePath, headless: true, args: ARGUMENTS });
});

after(async () => {
	await browser?.close();
	rmSync(profile, { recursive: true, force: true });
});

// Runs in the page. Returns what each reader agreed to and the first thing that went wrong.
async function read({ url, topics, count }) {
	const text = (i) => JSON.stringify({ type: "ticker", sequence: 1e9 + i, price: (30000 + ((i * 7919) % 997) / 10).toFixed(2),
		product: ["BTC-USD", "ETH-USD", "BAND-GBP"][i % 3], note: "\u20ac".repeat(i % 90) });
	const open = (path) => new Promise((done, fail) => {
		const ws = new WebSocket(url + path);
		ws.got = [];
		ws.onmessage = (event) => ws.got.push(event.data);
		ws.onopen = () => done(ws);
		ws.onerror = () => fail(new Error(path));
	});
	const writer = await open("/publish/" + topics.split(",")[0]), readers = [];
	for (let i = 0; i < count; i++) {
		if (i % 25 === 0) readers.push(Object.assign(await open("/topic/" + topics), { from: i }));
		writer.send(text(i));
		while (readers.some((reader) => reader.got.length < i + 1 - reader.from)) await new Promise((done) => setTimeout(done));
	}
	const wrong = readers.flatMap((reader) => reader.got.map((got, i) => got === text(reader.from + i) ? "" : `${i}: ${got}`));
	const echo = await open("/echo");
	echo.send("x".repeat(5000));
	while (!echo.got.length) await new Promise((done) => setTimeout(done));
	return { wrong: wrong.filter(Boolean)[0], agreed: readers.map((reader) => reader.extensions), echo: echo.got[0].length };
}

for (const [topics, kept] of [["hot1", true], ["cold", false], ["hot2,cold", false]]) {
	test(`chromium inflates ${topics}`, async () => {
		const page = await browser.newPage();
		await page.goto(url.replace("ws", "http") + "/stats"); // only pages of its own may publish
		const result = await page.evaluate(read, { url, topics, count: 300 });
		assert.equal(result.wrong, undefined);
		assert.equal(result.echo, 5000);
		assert.equal(result.agreed.length, 12);
		for (const agreed of result.agreed) {
			assert.match(agreed, /^permessage-deflate/);
			assert.equal(!agreed.includes("server_no_context_takeover"), kept, agreed);
		}
		await page.close();
	});
}
