// SPDX-License-Identifier: MIT
//
// uWebSockets itself, built from a folder of its source: /relay/NAME, /topic/NAME[,NAME...], /publish/NAME and /echo, with
// its own topics.
#include <App.h>

#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

struct Serve {
	std::vector<std::string> topics;
	std::string publishes;
	bool echoes = false;
};

static Serve serve_of(const std::string &path)
{
	Serve serve;
	std::size_t slash = path.find('/', 1);
	std::string job = path.substr(1, slash == std::string::npos ? slash : slash - 1);
	std::string names = slash == std::string::npos ? "" : path.substr(slash + 1);
	serve.echoes = job == "echo";
	if (job == "publish" || job == "relay")
		serve.publishes = names;
	if (job == "topic" || job == "relay") {
		std::istringstream words(names);
		for (std::string name; std::getline(words, name, ',');)
			serve.topics.push_back(name);
	}
	return serve;
}

int main(int, char **arguments)
{
	uWS::App app;
	uWS::App::WebSocketBehavior<Serve> behaviour;
	behaviour.compression = uWS::DISABLED;
	behaviour.maxPayloadLength = 16 << 20;
	behaviour.maxBackpressure = 64 << 20;
	behaviour.idleTimeout = 0;
	behaviour.sendPingsAutomatically = false;
	behaviour.upgrade = [](auto *response, auto *request, auto *context) {
		response->template upgrade<Serve>(serve_of(std::string(request->getUrl())),
		                                  request->getHeader("sec-websocket-key"),
		                                  request->getHeader("sec-websocket-protocol"),
		                                  request->getHeader("sec-websocket-extensions"), context);
	};
	behaviour.open = [](auto *socket) {
		for (const std::string &topic : socket->getUserData()->topics)
			socket->subscribe(topic);
	};
	behaviour.message = [&app](auto *socket, std::string_view message, uWS::OpCode opcode) {
		const Serve *serve = socket->getUserData();
		if (!serve->publishes.empty())
			app.publish(serve->publishes, message, opcode);
		else if (serve->echoes)
			socket->send(message, opcode);
	};
	app.ws<Serve>("/*", std::move(behaviour))
		.listen("127.0.0.1", std::atoi(arguments[1]),
	                [](auto *listening) {
				if (!listening)
					std::exit(1);
			})
		.run();
}
