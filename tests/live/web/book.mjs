// SPDX-License-Identifier: MIT
/** book.mjs PROGRAM NODE_MODULES CHROMIUM PICTURES: the page of an order book in a real browser. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { pause, until } from "./fake.mjs";

const [program, modules, executablePath, pictures] = process.argv.slice(2);
const { chromium } = createRequire(join(modules, "x.js"))("playwright-core");
const ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
	"--disable-background-networking", "--disable-component-update", "--disable-sync"];
const PATIENCE = 20_000;
const PORT = 10_000 + Math.floor(Math.random() * 20_000); // not one that the kernel gives to whoever connects

let server, browser, profile;
const complaints = [];

async function start(...flags) {
	server = spawn("setpriv", ["--pdeathsig", "KILL", program, ...flags], { stdio: ["ignore", "pipe", "inherit"] });
	for await (const line of createInterface(server.stdout)) if (line.includes("listening on")) return;
	throw new Error("the server did not start");
}

async function stop(signal = "SIGKILL") {
	if (server.exitCode !== null || server.signalCode) return;
	server.kill(signal);
	await once(server, "exit");
}

before(async () => {
	profile = mkdtempSync(join(tmpdir(), "ringcast-book-"));
	browser = await chromium.launchPersistentContext(profile, { executablePath, headless: true, args: ARGUMENTS });
});

after(async () => {
	await browser?.close();
	rmSync(profile, { recursive: true, force: true });
});

test.afterEach(async () => {
	await stop();
	for (const page of browser.pages().slice(1)) await page.close();
});

async function open(path = "/", { width = 1100, height = 900, theme = "light" } = {}) {
	const page = await browser.newPage();
	page.on("pageerror", error => complaints.push(error.message));
	page.on("console", message => /Content Security Policy|Uncaught/.test(message.text()) && complaints.push(message.text()));
	await page.emulateMedia({ colorScheme: theme });
	await page.setViewportSize({ width, height });
	await page.goto(`http://127.0.0.1:${PORT}${path}`);
	return page;
}

const tile = async (page, name) => Number((await page.textContent(`#${name}`)).replace(/ .*/, ""));
const proof = page => page.textContent("#proof");
const isProven = async page => (await page.$("#compared, #checked")) && (await proof(page)) === "proven";

/** What the ladder shows: prices from the top down, and of which side. */
const ladder = page => page.$$eval("#ladder tbody tr", rows => rows.map(row => [row.dataset.side, Number(row.cells[1].textContent)]));

test("a book that is opened late is right at once, and in order", async () => {
	await start("book", "--serve", `127.0.0.1:${PORT}`, "--rate", "400", "--seed", "5");
	await pause(1_500);
	const page = await open();
	await until(() => isProven(page), "the proof", PATIENCE);
	const rows = await ladder(page), asks = rows.filter(([side]) => side === "ask"), bids = rows.filter(([side]) => side === "bid");
	assert(asks.length > 8 && bids.length > 8, JSON.stringify(rows));
	const prices = rows.map(([, price]) => price);
	assert.deepEqual(prices, [...prices].sort((a, b) => b - a));
	assert.equal(rows.findIndex(([side]) => side === "bid"), asks.length);
	await until(async () => (await tile(page, "checked")) > 50, "updates", PATIENCE);
	assert.deepEqual([await tile(page, "gaps"), await tile(page, "wrong"), await tile(page, "resyncs")], [0, 0, 0]);
	assert((await page.$$("#book option")).length === 4);
	await page.selectOption("#book", "book.2");
	await until(async () => (await tile(page, "checked")) < 50 && isProven(page), "another book", PATIENCE);
	await page.screenshot({ path: join(pictures, "book-light.png"), fullPage: true });
});

test("it breaks off and resumes without a gap; at two updates a second it is right too", async () => {
	await start("book", "--serve", `127.0.0.1:${PORT}`, "--rate", "400", "--seed", "6");
	const page = await open();
	await until(() => isProven(page), "the proof", PATIENCE);
	await page.click("#break");
	assert.match(await page.textContent("#state"), /away/);
	await until(async () => (await page.textContent("#state")) === "connected", "back", PATIENCE);
	const at = await tile(page, "checked");
	await until(async () => (await tile(page, "checked")) > at + 50 && isProven(page), "right again", PATIENCE);
	assert.deepEqual([await tile(page, "gaps"), await tile(page, "wrong"), await tile(page, "resyncs")], [0, 0, 0]);
	await page.selectOption("#rate", "2");
	const paced = await tile(page, "checked");
	await until(async () => (await tile(page, "checked")) > paced + 3 && isProven(page), "right at two a second", PATIENCE);
	assert.deepEqual([await tile(page, "gaps"), await tile(page, "wrong")], [0, 0]);
});

test("the server is killed: the book stays as it was, and begins anew when there is another", async () => {
	await start("book", "--serve", `127.0.0.1:${PORT}`, "--rate", "400", "--seed", "7");
	const page = await open("/", { theme: "dark", width: 400 });
	await until(() => isProven(page), "the proof", PATIENCE);
	await stop();
	await until(async () => /again|connecting/.test(await page.textContent("#state")), "it notices", PATIENCE);
	assert((await ladder(page)).length > 10);
	await pause(300);
	await start("book", "--serve", `127.0.0.1:${PORT}`, "--rate", "400", "--seed", "8");
	await until(async () => (await tile(page, "resyncs")) >= 1 && isProven(page), "the other server's book", PATIENCE);
	assert.deepEqual([await tile(page, "gaps"), await tile(page, "wrong")], [0, 0]);
	const size = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
	assert.equal(size[0], size[1], "wider than its window");
	await page.screenshot({ path: join(pictures, "book-dark.png"), fullPage: true });
});

test("the demonstration has a book", async () => {
	await start("serve", "--demo", "--quiet", "--listen", `127.0.0.1:${PORT}`);
	await pause(1_000);
	const page = await open("/book");
	await until(() => isProven(page), "the proof", PATIENCE);
	assert.equal(await page.inputValue("#book"), "book.ACME");
	assert.deepEqual([await tile(page, "gaps"), await tile(page, "wrong")], [0, 0]);
	const market = await open("/");
	await market.click("footer a");
	await market.waitForSelector("#ladder");
	assert.deepEqual(complaints, []);
});
