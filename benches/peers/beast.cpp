// SPDX-License-Identifier: MIT
//
// Boost.Beast, on one thread: /relay/NAME, /topic/NAME[,NAME...], /publish/NAME and /echo.
// A message is shared by all whose queue it stands in; each writes one at a time, as the library demands.
#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;
using Tcp = asio::ip::tcp;

struct Message {
	bool text;
	std::string bytes;
};

class Session;
static std::map<std::string, std::set<Session *>> topics;

class Session : public std::enable_shared_from_this<Session> {
public:
	explicit Session(Tcp::socket socket) : stream(std::move(socket)) {}
	~Session()
	{
		for (const std::string &name : names)
			topics[name].erase(this);
	}

	void run()
	{
		auto self = shared_from_this();
		beast::http::async_read(stream.next_layer(), buffer, request, [self](beast::error_code error, std::size_t) {
			if (!error)
				self->accept();
		});
	}

	void send(std::shared_ptr<Message> message)
	{
		queue.push_back(std::move(message));
		if (queue.size() == 1)
			write();
	}

private:
	websocket::stream<Tcp::socket> stream;
	beast::flat_buffer buffer;
	beast::http::request<beast::http::string_body> request;
	std::vector<std::string> names; /* subscribed to */
	std::string published;          /* where what comes goes; "" for an echo */
	std::deque<std::shared_ptr<Message>> queue;

	void accept()
	{
		auto self = shared_from_this();
		std::string path(request.target()), job = path.substr(0, path.find('/', 1));
		std::string rest = path.substr(std::min(path.size(), job.size() + 1));
		published = job == "/topic" ? "" : rest;
		std::istringstream words(job == "/publish" ? "" : rest);
		for (std::string name; std::getline(words, name, ',');)
			names.push_back(name);
		stream.read_message_max(16 << 20);
		stream.auto_fragment(false);
		stream.async_accept(request, [self](beast::error_code error) {
			if (error)
				return;
			for (const std::string &name : self->names)
				topics[name].insert(self.get());
			self->read();
		});
	}

	void read()
	{
		auto self = shared_from_this();
		stream.async_read(buffer, [self](beast::error_code error, std::size_t) {
			if (!error)
				self->take();
		});
	}

	void take()
	{
		auto message = std::make_shared<Message>(Message{ stream.got_text(), beast::buffers_to_string(buffer.data()) });
		buffer.consume(buffer.size());
		if (published.empty())
			send(message);
		else
			for (Session *member : topics[published])
				member->send(message);
		read();
	}

	void write()
	{
		auto self = shared_from_this();
		stream.text(queue.front()->text);
		stream.async_write(asio::buffer(queue.front()->bytes), [self](beast::error_code error, std::size_t) {
			if (error)
				return;
			self->queue.pop_front();
			if (!self->queue.empty())
				self->write();
		});
	}
};

static void accept_next(Tcp::acceptor &acceptor)
{
	acceptor.async_accept([&acceptor](beast::error_code error, Tcp::socket socket) {
		if (!error) {
			socket.set_option(Tcp::no_delay(true));
			std::make_shared<Session>(std::move(socket))->run();
		}
		accept_next(acceptor);
	});
}

int main(int, char **argv)
{
	asio::io_context context(1);
	Tcp::endpoint endpoint(asio::ip::address_v4::loopback(), static_cast<unsigned short>(std::stoi(argv[1])));
	Tcp::acceptor acceptor(context, endpoint);
	acceptor.listen(4096);
	accept_next(acceptor);
	context.run();
}
