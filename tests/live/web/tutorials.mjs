// SPDX-License-Identifier: MIT
/** tutorials.mjs SITE NODE_MODULES CHROMIUM: the page of the chat in TUTORIALS.md, opened twice. */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { test } from "node:test";

const [site, modules, executablePath] = process.argv.slice(2);
const { chromium } = createRequire(join(modules, "x.js"))("playwright-core");

test("two windows of the page talk", async () => {
	const browser = await chromium.launch({ executablePath, headless: true,
		args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"] });
	const errors = [];
	try {
		const [alice, bob] = await Promise.all(["alice", "bob"].map(async name => {
			const page = await browser.newPage();
			page.on("pageerror", error => errors.push(error.message));
			await page.goto(`${site}?name=${name}`);
			await page.waitForFunction(() => socket.readyState === 1);
			return page;
		}));
		await alice.fill("#text", "hello <b>");
		await alice.press("#text", "Enter");
		await bob.waitForFunction(() => log.textContent === "alice: hello <b>", null, { timeout: 20_000 });
		await alice.waitForFunction(() => log.textContent === "alice: hello <b>", null, { timeout: 20_000 });
		assert.deepEqual(errors, []);
	} finally {
		await browser.close();
	}
});
