/* SPDX-License-Identifier: MIT
 *
 * ringcast.hpp - the public contract for C++17, and nothing but that: a server that is moved and not copied, lambdas
 * for handlers, std::string_view for bytes. What each call does and returns stands at its namesake in the C headers. An
 * error is a negative errno value, named by rc_strerror(); nothing here throws but what the standard library's own
 * allocation does in the caller's hands.
 *
 *   Exceptions  None leaves a handler. One that is thrown in `open`, `message`, `pong` or `ready` closes that
 *               connection with 1011, one in `request` or `head` answers it with 500. Each is told to handlers.report,
 *               and one that is thrown elsewhere is only told. A program built with -fno-exceptions has none, and the
 *               wrapper works there too.
 *   Handlers    They run on the worker that owns the connection, several at a time where there are several workers:
 *               what they share is the program's to guard. They are set once, with the server.
 *   Lifetime    A connection and a request are values without ownership. A request, a message and a closing are good
 *               until their handler returns, a connection as long as its handle.
 */
#ifndef RINGCAST_HPP
#define RINGCAST_HPP

#include "ringcast.h"
#include "ringcast_client.h"
#include "ringcast_latency.h"
#include "ringcast_publish.h"
#include "ringcast_stats.h"

#include <cerrno>
#include <functional>
#include <iterator>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__cpp_exceptions)
#include <exception>
#endif

namespace ringcast
{

/* Zeroed, so that words() is empty where nothing went wrong. */
struct error : rc_error {
	error() : rc_error() {}
	std::string_view words() const { return text; }
};

/* With the defaults of rc_config_init(). Its handlers are not looked at: see struct handlers. */
struct config : rc_config {
	config() : rc_config() { rc_config_init(static_cast<rc_config *>(this)); }
};

struct topic_options : rc_topic_options {
	topic_options() : rc_topic_options() {}
};

/* Text that must stay until connect() returns. */
struct connect_options : rc_connect_options {
	connect_options() : rc_connect_options() {}
	connect_options &header(const char *name, const char *value)
	{
		lines.push_back({ name, value });
		return *this;
	}
	std::vector<rc_connect_header> lines;
};

struct message {
	std::string_view data; /* text has been validated as UTF-8 */
	bool binary;
};

struct closing {
	int code;
	std::string_view reason;
	bool by_peer;
	int status;        /* rc_closing.status */
	unsigned again_ms; /* 0: this is the end, and the handle is stale */
};

/* A handle with its server. Any thread. */
class connection
{
      public:
	connection() = default;
	connection(rc_server *server, rc_conn conn, void *user = nullptr) : server_(server), conn_(conn), user_(user) {}
	rc_conn handle() const { return conn_; }
	/* In handlers: what request::set_user() or connect_options.user was given. */
	void *user() const { return user_; }
	unsigned worker() const { return rc_conn_worker(conn_); }
	explicit operator bool() const { return conn_ != 0; }
	friend bool operator==(const connection &one, const connection &other) { return one.conn_ == other.conn_; }
	friend bool operator!=(const connection &one, const connection &other) { return one.conn_ != other.conn_; }

	int send(std::string_view text) const { return rc_send(server_, conn_, RC_TEXT, text.data(), text.size()); }
	int send_binary(std::string_view data) const
	{
		return rc_send(server_, conn_, RC_BINARY, data.data(), data.size());
	}
	/* A message as it came: it is not checked once more. */
	int send(const message &came) const
	{
		return rc_send_unchecked(server_, conn_, came.binary ? RC_BINARY : RC_TEXT, came.data.data(),
		                         came.data.size());
	}
	int ping(std::string_view data = {}) const { return rc_ping(server_, conn_, data.data(), data.size()); }
	int close(uint16_t code = RC_CLOSE_NORMAL, std::string_view reason = {}) const
	{
		return rc_close(server_, conn_, code, reason.data(), reason.size());
	}
	int subscribe(std::string_view topic, rc_start *start = nullptr) const
	{
		return rc_subscribe(server_, conn_, topic.data(), topic.size(), start);
	}
	int unsubscribe(std::string_view topic) const
	{
		return rc_unsubscribe(server_, conn_, topic.data(), topic.size());
	}
	int respond(int status, const char *type, std::string_view body, const char *headers = nullptr) const
	{
		return rc_respond(server_, conn_, status, type, headers, body.data(), body.size());
	}

      private:
	rc_server *server_ = nullptr;
	rc_conn conn_ = 0;
	void *user_ = nullptr;
};

/* What asks to be let in. What is absent is empty; has_header() and has_query() tell absent from empty. */
class request
{
      public:
	explicit request(rc_request *given) : request_(given) {}
	std::string_view method() const { return rc_request_method(request_); }
	std::string_view path() const { return rc_request_path(request_); }
	std::string_view query(const char *name) const { return view(rc_request_query(request_, name)); }
	bool has_query(const char *name) const { return rc_request_query(request_, name) != nullptr; }
	std::string_view header(const char *name) const { return view(rc_request_header(request_, name)); }
	bool has_header(const char *name) const { return rc_request_header(request_, name) != nullptr; }
	std::string_view peer() const { return rc_request_peer(request_); }
	bool peer_is_local() const { return rc_request_peer_is_local(request_); }
	std::string_view peer_subject() const { return view(rc_request_peer_subject(request_)); }
	std::string_view proxy() const { return view(rc_request_proxy(request_)); }
	unsigned listener() const { return rc_request_listener(request_); }
	bool is_tls() const { return rc_request_is_tls(request_); }
	bool is_websocket() const { return rc_request_is_websocket(request_); }
	std::string_view body() const
	{
		size_t size = 0;
		const void *bytes = rc_request_body(request_, &size);
		return { static_cast<const char *>(bytes), size };
	}
	connection conn() const { return { rc_request_server(request_), rc_request_conn(request_) }; }
	int subscribe(std::string_view topic, rc_start *start = nullptr) const
	{
		return conn().subscribe(topic, start);
	}
	void set_user(void *user) const { rc_request_set_user(request_, user); }
	bool choose_protocol(const char *protocol) const { return rc_request_choose_protocol(request_, protocol); }
	int add_header(const char *name, const char *value) const
	{
		return rc_request_add_header(request_, name, value);
	}
	int respond(int status, const char *type, std::string_view body) const
	{
		return rc_request_respond(request_, status, type, body.data(), body.size());
	}
	int events() const { return rc_request_events(request_); }
	int wait() const { return rc_request_wait(request_); }
	rc_request *get() const { return request_; }

      private:
	static std::string_view view(const char *text) { return text ? std::string_view(text) : std::string_view(); }
	rc_request *request_;
};

/* Any of these may be empty. */
struct handlers {
	std::function<int(ringcast::request)> request;
	std::function<int(ringcast::request)> head;
	std::function<void(connection)> open;
	std::function<void(connection, const ringcast::message &)> message;
	std::function<void(connection, std::string_view)> pong;
	std::function<void(connection)> ready;
	std::function<void(connection, const closing &)> close;
	std::function<void(std::string_view)> report;
	std::function<void(const rc_error &)> failed;
};

namespace detail
{

struct state {
	handlers on;
	rc_server *server = nullptr;
	bool started = false;

	void report(const char *text) noexcept
	{
		const std::string_view words(text);
		if (on.report)
			guard([&] { on.report(words); }, false);
	}

	/* Calls fn. False when it threw. */
	template <class F> bool guard(F &&fn, bool tells = true) noexcept
	{
#if defined(__cpp_exceptions)
		try {
			fn();
			return true;
		} catch (const std::exception &thrown) {
			if (tells)
				tell(thrown.what());
		} catch (...) {
			if (tells)
				tell("not a std::exception");
		}
		return false;
#else
		(void)tells;
		fn();
		return true;
#endif
	}

#if defined(__cpp_exceptions)
	void tell(const char *what) noexcept
	{
		try {
			report((std::string("a handler threw: ") + what).c_str());
		} catch (...) {
			report("a handler threw");
		}
	}
#endif

	template <class F> void guard_of(rc_conn conn, F &&fn) noexcept
	{
		if (!guard(std::forward<F>(fn)))
			rc_close(server, conn, RC_CLOSE_INTERNAL, "a handler failed", 16);
	}
};

/* Called by the library, with the state as context. */
struct calls {
	static state *of(void *context) { return static_cast<state *>(context); }
	static int answer(state *self, const std::function<int(request)> &fn, rc_request *given) noexcept
	{
		int status = 500;
		self->guard([&] { status = fn(request(given)); });
		return status;
	}
	static int request_(void *context, rc_request *given)
	{
		return answer(of(context), of(context)->on.request, given);
	}
	static int head(void *context, rc_request *given) { return answer(of(context), of(context)->on.head, given); }
	static void open(void *context, rc_conn conn, void *user)
	{
		state *self = of(context);
		self->guard_of(conn, [&] { self->on.open(connection(self->server, conn, user)); });
	}
	static void message_(void *context, rc_conn conn, void *user, const rc_message *given)
	{
		state *self = of(context);
		const message came = { { reinterpret_cast<const char *>(given->data), given->size },
			               given->opcode == RC_BINARY };
		self->guard_of(conn, [&] { self->on.message(connection(self->server, conn, user), came); });
	}
	static void pong(void *context, rc_conn conn, void *user, const uint8_t *data, size_t size)
	{
		state *self = of(context);
		const std::string_view bytes(reinterpret_cast<const char *>(data), size);
		self->guard_of(conn, [&] { self->on.pong(connection(self->server, conn, user), bytes); });
	}
	static void ready(void *context, rc_conn conn, void *user)
	{
		state *self = of(context);
		self->guard_of(conn, [&] { self->on.ready(connection(self->server, conn, user)); });
	}
	static void close(void *context, rc_conn conn, void *user, const rc_closing *given)
	{
		state *self = of(context);
		const closing how = { given->code,
			              { given->reason, given->reason_size },
			              given->by_peer,
			              given->status,
			              given->again_ms };
		self->guard([&] { self->on.close(connection(self->server, conn, user), how); });
	}
	static void report(void *context, const char *text) { of(context)->report(text); }
	static void failed(void *context, const rc_error *why)
	{
		state *self = of(context);
		self->guard([&] { self->on.failed(*why); });
	}

	static rc_handlers table(state *self)
	{
		rc_handlers table = rc_handlers();
		table.context = self;
		table.request = self->on.request ? request_ : nullptr;
		table.head = self->on.head ? head : nullptr;
		table.open = self->on.open ? open : nullptr;
		table.message = self->on.message ? message_ : nullptr;
		table.pong = self->on.pong ? pong : nullptr;
		table.ready = self->on.ready ? ready : nullptr;
		table.close = self->on.close ? close : nullptr;
		table.report = self->on.report ? report : nullptr;
		table.failed = self->on.failed ? failed : nullptr;
		return table;
	}
};

} /* namespace detail */

/* An open topic: publishing looks up no name. Closed at its end, which comes before the server's. Any thread. */
class topic
{
      public:
	topic() = default;
	topic(topic &&other) noexcept : server_(other.server_), topic_(std::exchange(other.topic_, 0)) {}
	topic &operator=(topic &&other) noexcept
	{
		std::swap(server_, other.server_);
		std::swap(topic_, other.topic_);
		return *this;
	}
	topic(const topic &) = delete;
	topic &operator=(const topic &) = delete;
	~topic()
	{
		if (topic_)
			rc_topic_close(server_, topic_);
	}
	explicit operator bool() const { return topic_ != 0; }
	rc_topic handle() const { return topic_; }
	int64_t publish(std::string_view data, unsigned flags = 0) const
	{
		return rc_publish_to(server_, topic_, data.data(), data.size(), flags);
	}

      private:
	friend class server;
	rc_server *server_ = nullptr;
	rc_topic topic_ = 0;
};

/* A place in the log, to be written to and committed; abandoned at its end unless it was. */
class place
{
      public:
	place() = default;
	place(place &&other) noexcept
	    : server_(other.server_), place_(std::exchange(other.place_, 0)), data_(other.data_), size_(other.size_)
	{
	}
	place &operator=(place &&other) noexcept
	{
		std::swap(server_, other.server_);
		std::swap(place_, other.place_);
		std::swap(data_, other.data_);
		std::swap(size_, other.size_);
		return *this;
	}
	place(const place &) = delete;
	place &operator=(const place &) = delete;
	~place() { abandon(); }
	explicit operator bool() const { return place_ != 0; }
	char *data() const { return static_cast<char *>(data_); }
	size_t size() const { return size_; }
	/* Publishes its first `size` bytes. After a success it is no place any more. */
	int64_t commit(const topic &to, size_t size, uint64_t time_ns = 0, unsigned flags = 0)
	{
		int64_t result = rc_commit(server_, place_, to.handle(), size, time_ns, flags);
		if (result > 0)
			place_ = 0;
		return result;
	}
	void abandon()
	{
		if (place_)
			rc_abandon(server_, place_);
		place_ = 0;
	}

      private:
	friend class server;
	rc_server *server_ = nullptr;
	rc_place place_ = 0;
	void *data_ = nullptr;
	size_t size_ = 0;
};

/* Made by make(). An empty one, moved from or not made, is false, and nothing may be called on it. Its end stops the
 * workers of start() and waits for them, so it must not end inside a handler; those of run() and step() have ended. */
class server
{
      public:
	server() = default;
	server(server &&other) noexcept = default;
	server &operator=(server &&other) noexcept
	{
		if (this != &other) {
			end();
			state_ = std::move(other.state_);
		}
		return *this;
	}
	server(const server &) = delete;
	server &operator=(const server &) = delete;
	~server() { end(); }

	/* The server, or an empty one with the error set. */
	static server make(const rc_config &config, handlers on, rc_error *error = nullptr)
	{
		server made;
		made.state_.reset(new (std::nothrow) detail::state);
		if (!made.state_) {
			if (error)
				error->code = -ENOMEM;
			return made;
		}
		made.state_->on = std::move(on);
		rc_config own = config;
		own.handlers = detail::calls::table(made.state_.get());
		made.state_->server = rc_server_new(&own, error);
		if (!made.state_->server)
			made.state_.reset();
		return made;
	}

	explicit operator bool() const { return static_cast<bool>(state_); }
	rc_server *get() const { return state_->server; } /* for whatever else the C headers offer */

	int listen(const char *address, rc_error *error = nullptr) { return rc_server_listen(get(), address, error); }
	int topic_rule(const char *pattern, const rc_topic_options &options)
	{
		return rc_server_topic_rule(get(), pattern, &options);
	}
	int tls(const rc_tls_options &options, rc_error *error = nullptr)
	{
		return rc_server_tls(get(), &options, error);
	}
	int tls_client(const rc_tls_client_options &options, rc_error *error = nullptr)
	{
		return rc_server_tls_client(get(), &options, error);
	}
	int start(rc_error *error = nullptr)
	{
		int result = rc_server_start(get(), error);
		state_->started = result == 0;
		return result;
	}
	int run(unsigned worker, rc_error *error = nullptr) { return rc_server_run(get(), worker, error); }
	/* A worker in a loop of the program's own: what to wait for, and one tick. */
	int fd(unsigned worker) { return rc_server_fd(get(), worker); }
	int step(unsigned worker) { return rc_worker_step(get(), worker); }
	void stop(unsigned drain_ms = 1000) { rc_server_stop(get(), drain_ms); }
	void join()
	{
		rc_server_join(get());
		state_->started = false;
	}

	int64_t publish(std::string_view topic, std::string_view data, unsigned flags = 0)
	{
		return rc_publish(get(), topic.data(), topic.size(), data.data(), data.size(), flags);
	}
	int64_t publish(std::string_view topic, rc_publication &message)
	{
		return rc_publish_with(get(), topic.data(), topic.size(), &message);
	}
	/* `opened` is empty unless 0 is returned. */
	int open_topic(std::string_view name, topic &opened)
	{
		topic made;
		made.server_ = get();
		int result = rc_topic_open(get(), name.data(), name.size(), &made.topic_);
		if (result < 0)
			made.topic_ = 0;
		opened = std::move(made);
		return result;
	}
	/* A vector, an array or what else has its rc_batch_message one behind the other. */
	template <class Messages> int64_t publish_many(Messages &messages, unsigned flags = 0)
	{
		return rc_publish_many(get(), std::data(messages), std::size(messages), flags);
	}
	int reserve(size_t size, place &reserved)
	{
		place made;
		made.server_ = get();
		made.size_ = size;
		int result = rc_reserve(get(), size, &made.place_, &made.data_);
		if (result < 0)
			made.place_ = 0;
		reserved = std::move(made);
		return result;
	}
	void flush() { rc_flush(get()); }
	size_t room(size_t *messages = nullptr) { return rc_server_room(get(), messages); }
	connection conn(rc_conn handle) const { return { get(), handle }; }

	/* rc_connect(). Unless null, `conn` gets the handle when this returns; a handler may have been called with it
	 * by then. options.conn is not looked at. */
	int connect(unsigned worker, const char *url, const connect_options &options = {}, connection *conn = nullptr)
	{
		rc_conn handle = 0;
		rc_connect_options own = options;
		own.conn = &handle;
		if (!options.lines.empty()) {
			own.headers = options.lines.data();
			own.header_count = static_cast<unsigned>(options.lines.size());
		}
		int result = rc_connect(get(), worker, url, &own);
		if (conn)
			*conn = connection(get(), handle, own.user);
		return result;
	}

	/* Runs fn() on a worker's thread. */
	template <class F> int post(unsigned worker, F &&fn)
	{
		struct task {
			detail::state *state;
			std::function<void()> run;
		};
		std::unique_ptr<task> made(new (std::nothrow) task{ state_.get(), std::forward<F>(fn) });
		if (!made)
			return -ENOMEM;
		int result = rc_post(
		    get(), worker,
		    [](void *argument) {
			    std::unique_ptr<task> posted(static_cast<task *>(argument));
			    posted->state->guard(posted->run);
		    },
		    made.get());
		if (result == 0)
			(void)made.release(); /* the worker's, which runs it even at its end */
		return result;
	}

	/* Calls visit(const rc_past &) for a topic's messages until it returns false; one that throws ends it.
	 * It runs under the log's lock, and may call nothing here. */
	template <class F> int read(std::string_view topic, uint64_t since, unsigned max, F &&visit)
	{
		struct walk {
			detail::state *state;
			std::remove_reference_t<F> *visit;
		} from = { state_.get(), &visit };
		return rc_topic_read(
		    get(), topic.data(), topic.size(), since, max,
		    [](void *context, const rc_past *past) {
			    auto *here = static_cast<walk *>(context);
			    bool more = false;
			    here->state->guard([&] { more = (*here->visit)(*past); }, false);
			    return more;
		    },
		    &from);
	}

	struct rc_stats stats() const
	{
		struct rc_stats now = {};
		rc_server_stats(get(), &now);
		return now;
	}
	int topic_stats(std::string_view topic, struct rc_topic_stats &stats) const
	{
		return rc_topic_stats(get(), topic.data(), topic.size(), &stats);
	}
	unsigned worker_count() const { return rc_server_worker_count(get()); }

      private:
	void end()
	{
		if (!state_)
			return;
		if (state_->started) {
			rc_server_stop(get(), 1000);
			rc_server_join(get());
		}
		rc_server_free(get());
		state_.reset();
	}
	std::unique_ptr<detail::state> state_;
};

} /* namespace ringcast */

#endif
