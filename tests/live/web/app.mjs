// SPDX-License-Identifier: MIT
/** app.mjs - the real `ringcast app` for the tests of the browser side: started, killed and started again on one port. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

export class App {
	port = 0;

	constructor(program, flags = []) {
		Object.assign(this, { program, flags });
	}

	async start() {
		// Not a port that the kernel gives to whoever connects: a client that tries to reach the server while it is away
		// could get the server's own port, meet itself there, and be in its way.
		const port = () => this.port || 10_000 + Math.floor(Math.random() * 20_000);
		for (let tries = 0; tries < 10; tries++) if (await this.#startAt(port())) return this;
		throw new Error("the server did not start");
	}

	async #startAt(port) {
		// It must not outlive us, however we end.
		this.process = spawn("setpriv", ["--pdeathsig", "KILL", this.program, "app", "--listen", `127.0.0.1:${port}`,
			"--workers", "2", "--log-level", "warning", "--messages-per-second", "0", "--drain", "500ms", "--comeback",
			"200ms", ...this.flags], { stdio: ["ignore", "pipe", "inherit"] });
		for await (const line of createInterface(this.process.stdout)) {
			if (!line.includes("listening on")) continue;
			this.port = port;
			this.url = `127.0.0.1:${port}`;
			return true;
		}
		return false;
	}

	async stop(signal = "SIGKILL") {
		if (this.process.exitCode !== null || this.process.signalCode) return;
		this.process.kill(signal);
		await once(this.process, "exit");
	}

	async api(path, body) {
		const call = () => fetch(`http://${this.url}/api/${path}`, body && { method: "POST", body: JSON.stringify(body) });
		// A connection that was kept ended with the server that was killed; nobody was asked on it.
		const answer = await call().catch(error => error.cause?.code === "UND_ERR_SOCKET" || error.cause?.code === "ECONNRESET"
			? call() : Promise.reject(error));
		if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
		return answer.json();
	}
}
