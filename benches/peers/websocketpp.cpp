// SPDX-License-Identifier: MIT
//
// websocketpp on Boost.Asio, on one thread: /relay/NAME, /topic/NAME[,NAME...], /publish/NAME and /echo.
#include <websocketpp/config/asio_no_tls.hpp>
#include <websocketpp/server.hpp>

#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

using Server = websocketpp::server<websocketpp::config::asio>;
using Handle = websocketpp::connection_hdl;
using Members = std::set<Handle, std::owner_less<Handle>>;

/* The topics that a path subscribes to; `published` is the one it publishes to: /relay/NAME does both. */
static std::vector<std::string> subscribed(const std::string &path, std::string &published)
{
	std::vector<std::string> names;
	std::string job = path.substr(0, path.find('/', 1)), rest = path.substr(std::min(path.size(), job.size() + 1));
	published = job == "/topic" ? "" : rest;
	std::istringstream words(job == "/publish" ? "" : rest);
	for (std::string name; std::getline(words, name, ',');)
		names.push_back(name);
	return names;
}

int main(int, char **argv)
{
	Server server;
	std::map<std::string, Members> topics;
	websocketpp::lib::error_code ignored;
	server.clear_access_channels(websocketpp::log::alevel::all);
	server.clear_error_channels(websocketpp::log::elevel::all);
	server.init_asio();
	server.set_reuse_addr(true);
	server.set_max_message_size(16 << 20);
	server.set_listen_backlog(4096);
	server.set_tcp_post_init_handler([&](Handle handle) {
		server.get_con_from_hdl(handle)->get_raw_socket().set_option(boost::asio::ip::tcp::no_delay(true));
	});
	server.set_open_handler([&](Handle handle) {
		std::string published;
		for (const std::string &name : subscribed(server.get_con_from_hdl(handle)->get_resource(), published))
			topics[name].insert(handle);
	});
	server.set_close_handler([&](Handle handle) {
		std::string published;
		for (const std::string &name : subscribed(server.get_con_from_hdl(handle)->get_resource(), published))
			topics[name].erase(handle);
	});
	server.set_message_handler([&](Handle handle, Server::message_ptr message) {
		const std::string &path = server.get_con_from_hdl(handle)->get_resource();
		if (path == "/echo") {
			server.send(handle, message->get_payload(), message->get_opcode(), ignored);
			return;
		}
		std::string published;
		subscribed(path, published);
		for (const Handle &member : topics[published])
			server.send(member, message->get_payload(), message->get_opcode(), ignored);
	});
	server.listen(boost::asio::ip::tcp::endpoint(boost::asio::ip::address_v4::loopback(),
	                                             static_cast<unsigned short>(std::stoi(argv[1]))));
	server.start_accept();
	server.run();
}
