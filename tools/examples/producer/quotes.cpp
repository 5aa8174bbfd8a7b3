// SPDX-License-Identifier: MIT
//
// quotes.cpp - the same from C++17: a producer that closes itself, errors as exceptions where it is set up, and plain
// values where it is hot.
//
//      c++ -std=c++17 -O2 quotes.cpp -o quotes && ./quotes /tmp/quotes.sock 1000
#include <ringcast_producer.h>

#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

class Producer
{
      public:
	explicit Producer(const std::string &path)
	{
		if (rc_producer_open(&producer_, path.c_str()) < 0)
			throw std::runtime_error(producer_.error);
	}
	~Producer() { rc_producer_close(&producer_); }
	Producer(const Producer &) = delete;
	Producer &operator=(const Producer &) = delete;

	int topic(std::string_view name)
	{
		int number = rc_producer_topic(&producer_, name.data(), name.size());
		if (number < 0)
			throw std::runtime_error(std::string(name) + ": " + producer_.error);
		return number;
	}

	// 0, or a negative errno: -EAGAIN when the ring is full.
	int publish(int topic, std::string_view text, unsigned flags = 0) noexcept
	{
		return rc_producer_publish(&producer_, topic, text.data(), text.size(), flags);
	}

      private:
	rc_producer producer_;
};

int main(int argc, char **argv)
try {
	Producer producer(argc > 1 ? argv[1] : "/tmp/quotes.sock");
	const int topic = producer.topic("quote.EURUSD");
	const long ticks = argc > 2 ? std::stol(argv[2]) : 10;
	for (long tick = 0; tick < ticks;) {
		const std::string text = "{\"tick\":" + std::to_string(tick) + "}";
		const int result = producer.publish(topic, text);
		if (result == 0)
			tick++;
		else if (result == -EAGAIN)
			std::this_thread::sleep_for(std::chrono::microseconds(50));
		else
			throw std::runtime_error("the server has gone");
	}
} catch (const std::exception &error) {
	std::fprintf(stderr, "%s\n", error.what());
	return 1;
}
