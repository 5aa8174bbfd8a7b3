// SPDX-License-Identifier: MIT
/** browser.mjs PROGRAM NODE_MODULES CHROMIUM PICTURES: the dashboard and the client in a real browser. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { App } from "./app.mjs";
import { pause, until } from "./fake.mjs";

const [program, modules, executablePath, pictures] = process.argv.slice(2);
const { chromium } = createRequire(join(modules, "x.js"))("playwright-core");
const ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
	"--disable-background-networking", "--disable-component-update", "--disable-sync"];
const PATIENCE = 20_000;

let app, browser, profile;
const complaints = [];

before(async () => {
	app = await new App(program).start();
	profile = mkdtempSync(join(tmpdir(), "ringcast-browser-"));
	browser = await chromium.launchPersistentContext(profile, { executablePath, headless: true, args: ARGUMENTS });
});

after(async () => {
	await browser?.close();
	await app?.stop();
	rmSync(profile, { recursive: true, force: true });
});

test.afterEach(async () => {
	for (const page of browser.pages().slice(1)) await page.close();
});

async function open({ user, room = "lobby", width = 1280, height = 900, theme = "light", path = "/" } = {}) {
	const page = await browser.newPage();
	// That the server is away is told by the browser itself, again and again; a script's mistake is not.
	page.on("pageerror", error => complaints.push(error.message));
	page.on("console", message => /Content Security Policy|Uncaught/.test(message.text()) && complaints.push(message.text()));
	await page.emulateMedia({ colorScheme: theme });
	await page.setViewportSize({ width, height });
	await page.goto(`http://${app.url}${path}`);
	if (!user) return page;
	await page.fill("#enter [name=user]", user);
	await page.fill("#enter [name=room]", room);
	await page.click("#enter button");
	await page.waitForSelector("#say input:enabled", { timeout: PATIENCE });
	return page;
}

async function say(page, text) {
	await page.fill("#say input", text);
	await page.press("#say input", "Enter");
}

/** What a window shows: "who text", and how many are still on their way. */
const shown = page => page.$$eval("#chat .log li", lines => lines.filter(line => line.querySelector(".who"))
	.map(line => `${line.querySelector(".who").textContent} ${line.lastChild.textContent}`));
const pending = page => page.$$eval("#chat .log .pending", lines => lines.length);
const state = page => page.textContent("#state");

test("the client alone: connects, sends, follows a feed, with nothing but one import", async () => {
	const page = await open();
	const result = await page.evaluate(async () => {
		const { Ringcast } = await import("/ringcast.js");
		const made = new Ringcast(`${location.origin}/ws/tester`), updates = [];
		await made.join("r");
		await made.say("r", "x");
		made.subscribe("f", data => updates.push(data));
		await made.request({ type: "ping" });
		globalThis.client = made;
		globalThis.updates = updates;
		return { state: made.state, transport: made.transport, userId: made.userId };
	});
	assert.deepEqual(result, { state: "open", transport: "websocket", userId: "tester" });
	await app.api("publish", { topic: "f", data: { n: 1 } });
	await page.waitForFunction(() => globalThis.updates.length === 1);
});

test("two windows chat; the server is killed and comes back; nothing is lost and nothing comes twice", async () => {
	const a = await open({ user: "ana" }), b = await open({ user: "ben" });
	const wanted = [];
	const talk = async number => {
		await say(a, `a${number}`);
		await say(b, `b${number}`);
		wanted.push(`ana a${number}`, `ben b${number}`);
	};
	const complete = async () => {
		for (const page of [a, b])
			if ((await shown(page)).length < wanted.length || (await pending(page))) return false;
		return true;
	};
	for (let n = 0; n < 5; n++) await talk(n);
	await until(complete, "the first words", PATIENCE);
	await app.stop("SIGKILL");
	await until(async () => /again|connecting/.test(await state(a)) && /again|connecting/.test(await state(b)), "both notice", PATIENCE);
	for (let n = 5; n < 10; n++) await talk(n);
	assert.equal(await pending(a), 5);
	assert.equal(await pending(b), 5);
	await a.screenshot({ path: join(pictures, "web-away.png") });
	await app.start();
	await until(async () => (await state(a)) === "connected" && (await state(b)) === "connected", "both back", PATIENCE);
	await until(complete, "the words from in between", PATIENCE);
	for (let n = 10; n < 12; n++) await talk(n);
	await until(complete, "the last words", PATIENCE);
	await pause(300);
	for (const page of [a, b]) {
		const lines = await shown(page);
		assert.deepEqual([...lines].sort(), [...wanted].sort());
		for (const who of ["ana", "ben"])
			assert.deepEqual(lines.filter(line => line.startsWith(who)), wanted.filter(line => line.startsWith(who)));
	}
	assert.match(await a.textContent("#chat-state"), /lobby, 2 people/);
});

test("words typed while the server was away outlive a reload of the page", async () => {
	const a = await open({ user: "rae", room: "later" }), b = await open({ user: "sam", room: "later" });
	await app.stop("SIGKILL");
	await until(async () => /again|connecting/.test(await state(a)), "it notices", PATIENCE);
	await say(a, "kept");
	// The page cannot be fetched again without its server: what a reload does to it is done by another page.
	await a.close();
	await app.start();
	await until(async () => (await state(b)) === "connected", "the other is back", PATIENCE);
	await open({ user: "rae", room: "later" });
	await until(async () => (await shown(b)).length > 0, "the words", PATIENCE);
	await pause(300);
	assert.deepEqual(await shown(b), ["rae kept"]);
});

test("the feed of a topic that is chosen from the list, and the figures", async () => {
	const page = await open({ user: "kim" });
	let number = 0;
	const timer = setInterval(() => app.api("publish", { topic: "prices/EUR", data: { price: ++number } }).catch(() => {}), 20);
	try {
		await page.click("#topics button:text('prices/EUR')", { timeout: PATIENCE });
		await page.waitForFunction(() => document.querySelectorAll("#feed .log li").length > 20, null, { timeout: PATIENCE });
		const numbers = (await page.$$eval("#feed .log code", lines => lines.map(line => line.textContent)))
			.map(line => Number(/^#(\d+) \{"price":(\d+)\}$/.exec(line)[1]));
		numbers.forEach((seq, index) => assert.equal(seq, numbers[0] + index));
		const tiles = await page.$$eval("#tiles div", list => Object.fromEntries(list.map(tile =>
			[tile.querySelector("dt").textContent, parseFloat(tile.querySelector("dd").textContent)])));
		assert(tiles.Clients >= 1 && tiles.Rooms >= 1 && tiles.Topics >= 1, JSON.stringify(tiles));
		await until(async () => (await page.$$eval("#tiles dd", list => parseFloat(list[4].textContent))) > 5, "messages out", PATIENCE);
		assert.equal(await page.$$eval(".chart", list => list.length), 6);
		await page.waitForFunction(() => [...document.querySelectorAll(".chart .line")].filter(line =>
			line.getAttribute("d").length > 20).length >= 6, null, { timeout: PATIENCE });
		await page.hover(".chart:nth-child(2) svg");
		assert.match(await page.textContent(".chart:nth-child(2) .tip"), /\d\d:\d\d:\d\d .* in, .* out/);
		assert.equal(await page.isVisible("#notice"), false);
		assert.match(await page.textContent("#rooms tbody"), /lobby/);
	} finally {
		clearInterval(timer);
	}
});

test("light, dark and the size of a telephone", async () => {
	const timer = setInterval(() => app.api("publish", { topic: `prices/${Math.random() < 0.5 ? "EUR" : "GBP"}`, data: { price: Math.random() } })
		.catch(() => {}), 20);
	const views = [["light", 1280, 900], ["dark", 1280, 900], ["light", 390, 844], ["dark", 390, 844], ["light", 320, 568]];
	const background = page => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
	try {
		const pages = [];
		for (const [theme, width, height] of views) pages.push(await open({ user: `${theme}-${width}`, theme, width, height }));
		await pause(4_000);
		for (const [index, page] of pages.entries()) {
			const [theme, width] = views[index];
			await page.bringToFront();
			await page.screenshot({ path: join(pictures, `web-${theme}-${width}.png`), fullPage: true });
			const size = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
			assert.equal(size[0], size[1], `${theme} ${width}: wider than its window`);
		}
		const [light, dark] = [await background(pages[0]), await background(pages[1])];
		assert.notEqual(light, dark);
		await pages[0].click("#theme"); // light, though it is already
		await pages[0].click("#theme");
		assert.equal(await background(pages[0]), dark);
		await pages[0].click("#theme");
		assert.equal(await background(pages[0]), light);
		// On a telephone everything that is to be pressed is large enough for a finger.
		const small = await pages[2].$$eval("button, input", list => list.filter(each => each.offsetParent)
			.map(each => [each.textContent || each.name, each.getBoundingClientRect().height]).filter(([, height]) => height < 36));
		assert.deepEqual(small, []);
	} finally {
		clearInterval(timer);
	}
});

/** What the page does with a key, wherever it is: `go` opens it. */
async function keys(go) {
	const page = await go(), notice = words => page.waitForSelector(`#notice:text("${words}")`, { timeout: PATIENCE });
	await notice("need an API key");
	assert.equal(await page.isVisible("#keys [name=key]"), true);
	assert.equal(await page.getAttribute("#keys [name=key]", "aria-invalid"), "false");
	await page.fill("#keys [name=key]", "another-key-of-the-test");
	await page.click("#keys button");
	await notice("key is wrong");
	await page.waitForSelector("#keys [name=key][aria-invalid=true]", { timeout: PATIENCE });
	assert.equal(await page.inputValue("#keys [name=key]"), "another-key-of-the-test");
	await page.click("#access"); // who closes it is not asked again
	await pause(1_500);
	assert.equal(await page.isVisible("#keys"), false);
	await page.click("#access");
	await page.fill("#keys [name=key]", "secret-of-the-test");
	await page.click("#keys button");
	await page.waitForSelector("#tiles div", { timeout: PATIENCE });
	assert.equal(await page.isVisible("#notice"), false);
	assert.equal(await page.isVisible("#keys"), false);
	assert.equal(await state(page), "connected");
	assert(!JSON.stringify(await page.evaluate(() => ({ ...localStorage }))).includes("secret"));
}

test("with an API key the page asks for it, says when it is wrong, and keeps it to this tab", async () => {
	const other = app;
	app = await new App(program, ["--api-key", "secret-of-the-test"]).start();
	try {
		await keys(open);
	} finally {
		await app.stop();
		app = other;
	}
});

test("the same over TLS", async t => {
	const folder = mkdtempSync(join(tmpdir(), "ringcast-tls-")), at = name => join(folder, name);
	const port = 10_000 + Math.floor(Math.random() * 20_000);
	let secure;
	try {
		const made = spawnSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
			"-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", at("key"), "-out", at("cert")]);
		if (made.error) return void t.skip("there is no openssl");
		secure = await new App(program, ["--api-key", "secret-of-the-test", "--listen", `wss://127.0.0.1:${port}`,
			"--tls-cert", at("cert"), "--tls-key", at("key")]).start();
		const context = await chromium.launch({ executablePath, headless: true, args: ARGUMENTS });
		try {
			const page = await context.newPage({ ignoreHTTPSErrors: true });
			page.on("pageerror", error => complaints.push(error.message));
			await keys(async () => (await page.goto(`https://127.0.0.1:${port}/`), page));
		} finally {
			await context.close();
		}
	} finally {
		await secure?.stop();
		rmSync(folder, { recursive: true, force: true });
	}
});

test("a classic script has the client as one global name", async () => {
	const page = await open();
	const result = await page.evaluate(async () => {
		const script = document.createElement("script");
		await new Promise((resolve, reject) => {
			Object.assign(script, { src: "/ringcast.min.js", onload: resolve, onerror: reject });
			document.head.append(script);
		});
		const one = new globalThis.Ringcast(`${location.origin}/ws/classic`), told = [];
		one.onOpen(() => told.push("open"));
		await one.joinRoom("r");
		const pool = new globalThis.Ringcast.Pool({ max: 1, min: 0 }), lent = await pool.acquire(), where = lent.transport;
		pool.close();
		one.close();
		const { encodedBodySize, decodedBodySize } = performance.getEntriesByName(script.src)[0];
		return { told, where, encodedBodySize, decodedBodySize };
	});
	assert.deepEqual(result.told, ["open"]);
	assert.equal(result.where, "websocket");
	assert(result.encodedBodySize < result.decodedBodySize / 2, JSON.stringify(result));
});

test("no script complained", () => assert.deepEqual(complaints, []));
