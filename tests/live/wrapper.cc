/* SPDX-License-Identifier: MIT
 *
 * wrapper.cc - ringcast.hpp as a program meets it: every handler as a lambda, a client and a server in one process,
 * and, where there are exceptions, handlers that throw. Prints nothing and returns 0 when all is well.
 */
#include <ringcast.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			std::fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                   \
			std::exit(1);                                                                                  \
		}                                                                                                      \
	} while (0)

template <class F> static void await(F &&done, int line)
{
	for (int i = 0; i < 20000 && !done(); i++)
		std::this_thread::sleep_for(std::chrono::milliseconds(1));
	if (!done()) {
		std::fprintf(stderr, "line %d: it never came\n", line);
		std::exit(1);
	}
}
#define AWAIT(condition) await([&] { return condition; }, __LINE__)

struct notes {
	std::mutex lock;
	std::string text, report, reason;
	std::atomic<unsigned> opened{ 0 }, closed{ 0 }, messages{ 0 }, pongs{ 0 }, reports{ 0 };
	std::atomic<int> code{ 0 }, status{ 0 };
	std::atomic<void *> user{ nullptr };
	std::atomic<rc_conn> conn{ 0 };
};

#if defined(__cpp_exceptions)
[[noreturn]] static void fail()
{
	throw std::runtime_error("on purpose");
}
#endif

static int let_in(const ringcast::request &request)
{
	CHECK(request.method() == "GET" && request.is_websocket() == !request.has_query("plain"));
	CHECK(request.peer() == "127.0.0.1" && request.peer_is_local() && !request.is_tls());
	if (request.path() == "/deny")
		return 403;
	if (request.path() == "/plain")
		return request.respond(200, "text/plain", "hello");
#if defined(__cpp_exceptions)
	if (request.path() == "/throws")
		fail();
#endif
	CHECK(request.header("X-Key") == "abc" && !request.has_header("X-Other"));
	return request.subscribe("feed") == 0 ? 0 : 500;
}

static ringcast::handlers serving(notes &seen)
{
	ringcast::handlers on;
	on.request = [](ringcast::request request) { return let_in(request); };
	on.open = [&seen](ringcast::connection conn) {
		seen.conn = conn.handle();
		seen.opened++;
	};
	on.message = [&seen](ringcast::connection conn, const ringcast::message &message) {
		seen.messages++;
#if defined(__cpp_exceptions)
		if (message.data == "throw")
			fail();
		if (message.data == "throw 1")
			throw 1;
#endif
		CHECK(conn.send(message) == 0);
	};
	on.close = [&seen](ringcast::connection, const ringcast::closing &) {
		seen.closed++;
#if defined(__cpp_exceptions)
		fail();
#endif
	};
	on.report = [&seen](std::string_view text) {
		std::lock_guard<std::mutex> guard(seen.lock);
		seen.report = text;
		seen.reports++;
	};
	return on;
}

static ringcast::handlers asking(notes &seen)
{
	ringcast::handlers on;
	on.open = [&seen](ringcast::connection conn) {
		seen.conn = conn.handle();
		seen.user = conn.user();
		seen.opened++;
	};
	on.message = [&seen](ringcast::connection, const ringcast::message &message) {
		std::lock_guard<std::mutex> guard(seen.lock);
		seen.text = (message.binary ? "binary " : "text ") + std::string(message.data);
		seen.messages++;
	};
	on.pong = [&seen](ringcast::connection, std::string_view data) {
		CHECK(data == "ping");
		seen.pongs++;
	};
	on.close = [&seen](ringcast::connection, const ringcast::closing &how) {
		std::lock_guard<std::mutex> guard(seen.lock);
		CHECK(how.again_ms == 0);
		seen.code = how.code;
		seen.status = how.status;
		seen.reason = how.reason;
		seen.closed++;
	};
	return on;
}

static std::string text_of(notes &seen)
{
	std::lock_guard<std::mutex> guard(seen.lock);
	return seen.text;
}

static ringcast::connection dial(ringcast::server &client, int port, const char *path, void *user = nullptr)
{
	const std::string url = "ws://127.0.0.1:" + std::to_string(port) + path;
	ringcast::connect_options options;
	ringcast::connection conn;
	options.user = user;
	options.timeout_ms = 10000;
	options.header("X-Key", "abc");
	CHECK(client.connect(0, url.c_str(), options, &conn) == 0 && conn);
	return conn;
}

static void talk(ringcast::server &server, ringcast::server &client, notes &served, notes &asked, int port)
{
	int user = 0;
	ringcast::connection conn = dial(client, port, "/", &user);
	AWAIT(asked.opened == 1 && served.opened == 1);
	CHECK(asked.user == &user && asked.conn == conn.handle());
	CHECK(conn.send("hello") == 0);
	AWAIT(text_of(asked) == "text hello");
	CHECK(conn.send_binary({ "a\0b", 3 }) == 0);
	AWAIT(text_of(asked) == std::string("binary a\0b", 10));
	CHECK(conn.ping("ping") == 0);
	AWAIT(asked.pongs == 1);
	CHECK(server.publish("feed", "one") == 1);
	AWAIT(text_of(asked) == "text one");
	CHECK(server.conn(served.conn).unsubscribe("feed") == 0);
	rc_publication message = rc_publication();
	message.data = "two";
	message.size = 3;
	CHECK(server.publish("feed", message) == 2);
	unsigned count = 0;
	CHECK(server.read("feed", 0, 10, [&](const rc_past &past) { return past.size == 3 && ++count < 10; }) == 2);
	CHECK(count == 2 && server.stats().published == 2);
	struct rc_topic_stats topic;
	CHECK(server.topic_stats("feed", topic) == 0 && topic.sequence == 2);
	CHECK(conn.close(4001, "enough") == 0);
	AWAIT(asked.closed == 1 && served.closed == 1);
	CHECK(asked.code == 4001 && conn.send("late") == -ENOTCONN);
	dial(client, port, "/deny");
	AWAIT(asked.closed == 2);
	CHECK(asked.status == 403 && asked.reason.find("403 Forbidden") != std::string::npos);
	std::atomic<bool> ran{ false };
	CHECK(client.post(0, [&ran] { ran = true; }) == 0);
	AWAIT(ran.load());
	CHECK(client.post(7, [] {}) == -EINVAL);
}

static void publish_fast(ringcast::server &server)
{
	ringcast::topic fast, other;
	ringcast::place place;
	CHECK(server.open_topic("", fast) == -EINVAL && !fast);
	CHECK(server.open_topic("fast", fast) == 0 && server.open_topic("other", other) == 0);
	CHECK(fast.publish("1") == 1 && other.publish("1", RC_PUBLISH_QUIET) == 1);
	server.flush();
	rc_batch_message tick[2] = {};
	tick[0].topic = fast.handle();
	tick[1].topic = other.handle();
	tick[0].data = tick[1].data = "2";
	tick[0].size = tick[1].size = 1;
	CHECK(server.publish_many(tick) == 2 && tick[0].result == 2 && tick[1].result == 2);
	CHECK(server.reserve(16, place) == 0 && place && place.size() == 16);
	place.data()[0] = '3';
	CHECK(place.commit(fast, 17) == -EMSGSIZE && place);
	CHECK(place.commit(fast, 1) == 3 && !place);
	CHECK(place.commit(fast, 1) < 0);
	CHECK(server.reserve(16, place) == 0);
	ringcast::place moved = std::move(place);
	CHECK(moved && !place);
	moved.abandon();
	CHECK(!moved && server.room() > 0);
	ringcast::topic taken = std::move(fast);
	CHECK(taken && !fast && taken.publish("4") == 4);
	CHECK(server.fd(99) < 0 && server.step(99) < 0);
}

/* What a handler throws ends its connection, and nothing else. */
static void throwing(ringcast::server &client, notes &served, notes &asked, int port)
{
#if defined(__cpp_exceptions)
	for (const char *word : { "throw", "throw 1" }) {
		unsigned closed = asked.closed, opened = asked.opened;
		ringcast::connection conn = dial(client, port, "/");
		AWAIT(asked.opened == opened + 1);
		CHECK(conn.send(word) == 0);
		AWAIT(asked.closed == closed + 1);
		CHECK(asked.code == RC_CLOSE_INTERNAL);
	}
	unsigned closed = asked.closed;
	dial(client, port, "/throws");
	AWAIT(asked.closed == closed + 1);
	CHECK(asked.status == 500);
	CHECK(client.post(0, [] { fail(); }) == 0);
	AWAIT(served.closed == 3);
	std::lock_guard<std::mutex> guard(served.lock);
	CHECK(served.report.find("a handler threw: ") == 0);
#else
	(void)client, (void)served, (void)asked, (void)port;
#endif
}

int main()
{
	notes served, asked;
	ringcast::error error;
	ringcast::config config;
	config.worker_count = 1;
	config.log_size = 1;
	CHECK(!ringcast::server::make(config, {}, &error) && error.code == -EINVAL && !error.words().empty());
	config.log_size = 1 << 20;
	ringcast::server made = ringcast::server::make(config, serving(served), &error);
	CHECK(made);
	ringcast::server server = std::move(made);
	CHECK(!made && server && server.worker_count() == 1);
	ringcast::topic_options keeps;
	keeps.keep_last = true;
	CHECK(server.topic_rule("feed", keeps) == 0);
	CHECK(server.listen("nonsense", &error) == -EINVAL);
	const int port = server.listen("127.0.0.1:0", &error);
	CHECK(port > 0 && server.start(&error) == 0);
	ringcast::server client = ringcast::server::make(config, asking(asked));
	CHECK(client && client.start() == 0);
	talk(server, client, served, asked, port);
	publish_fast(server);
	throwing(client, served, asked, port);
	client = ringcast::server(); /* which ends it */
	CHECK(!client);
	server.stop(100);
	server.join();
	return 0;
}
