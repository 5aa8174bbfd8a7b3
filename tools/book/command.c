/* SPDX-License-Identifier: MIT
 *
 * command.c - `ringcast book`: order books that prove themselves. A server in a process of its own publishes them, and
 * is killed now and then; a crowd of readers keeps them, and each holds its book against the checksum in every update.
 * With --serve there is one server and a page instead of the crowd.
 */

#include "commands.h"
#include "lib/wait.h"
#include "market.h"
#include "run.h"

#define READERS_MAX 100000
#define LOG_SIZE ((size_t)4 << 20)

static int run(int argc, char **argv);

static const struct option_need needs[] = {
	{ "kills", "hostile" },
	{ "hostile", "!serve" },
	{ "readers", "!serve" },
	{ "patience", "!serve" },
	{ "books", "!replay" },
	{ "quiet", "!serve" },
	{ 0 },
};

const struct subcommand command_book = {
	.name = "book",
	.summary = "publish order books to readers that prove theirs, or to a page",
	.usage = "[options]",
	.about =
	    "Publishes level-2 updates of order books as keyed feeds, each with a checksum of the ten best levels of "
	    "a\n"
	    "side. Readers over real sockets keep a book each, and hold it against every checksum that can be held\n"
	    "against it. With --hostile they stall, break off and resume, read slowly or ask for few updates, half of\n"
	    "the books conflate, and the server is killed (SIGKILL) and started again. It prints what came of it. The\n"
	    "exit status is 1 when a checksum was wrong, an update was missing in silence, or a reader did not end "
	    "with\n"
	    "the publisher's own book.\n"
	    "With --serve it serves the books, and a page with the ladder of one, until a signal comes.",
	.examples = "  ringcast book\n"
		    "  ringcast book --updates 1000000 --hostile\n"
		    "  ringcast book --replay coinbase.tsv --readers 200\n"
		    "  ringcast book --serve 127.0.0.1:8080",
	.needs = needs,
	.run = run,
};

static int parse(struct book_options *asked, int argc, char **argv)
{
	const struct option_entry options[] = {
		{ "updates", OPTION_COUNT64, &asked->updates, "N",
		  "how many to publish (100000); of a recording, all it has" },
		{ "readers", OPTION_COUNT, &asked->readers, "N", "connections, each with a book of its own (1000)" },
		{ "books", OPTION_COUNT, &asked->books, "N",
		  "books that are made up (50; with --serve 4), each a topic" },
		{ "hostile", OPTION_FLAG, &asked->hostile, NULL,
		  "readers with bad manners, and a server that is killed" },
		{ "kills", OPTION_COUNT, &asked->kills, "N", "with --hostile, how often the server is killed (3)" },
		{ "rate", OPTION_NUMBER, &asked->rate, "N",
		  "updates a second of all books (20000; with --serve 200); 0: as fast\n"
		  "as the log takes them" },
		{ "replay", OPTION_TEXT, &asked->recording, "FILE",
		  "recorded level-2 updates of Coinbase or Binance, one a line:\n"
		  "seconds<TAB>topic<TAB>JSON" },
		{ "serve", OPTION_TEXT, &asked->address, "ADDRESS",
		  "no readers here: serve the books and a page, as serve --listen" },
		{ "log-size", OPTION_SIZE, &asked->log_size, "SIZE",
		  "of the log (4m); a smaller one overruns readers sooner" },
		{ "patience", OPTION_NS, &asked->patience_ns, "TIME",
		  "for the readers to have everything at the end (60s)" },
		{ "seed", OPTION_COUNT64, &asked->seed, "N",
		  "repeats a run's market and manners (printed at its start)" },
		{ "quiet", OPTION_FLAG, &asked->quiet, NULL, "no line of progress each second" },
		{ 0 },
	};
	int operand;
	int status = options_parse(&command_book, options, argc, argv, &operand);
	if (status >= 0)
		return status;
	if (operand != argc)
		return options_wrong(&command_book, "'%s' is no option", argv[operand]);
	if (!asked->readers || asked->readers > READERS_MAX)
		return options_wrong(&command_book, "--readers: 1 to %d", READERS_MAX);
	if (asked->books > MARKET_BOOKS_MAX)
		return options_wrong(&command_book, "--books: 1 to %d", MARKET_BOOKS_MAX);
	if (asked->rate < -1 || asked->rate > 1e9)
		return options_wrong(&command_book, "--rate: 0 to 1000000000");
	return -1;
}

static int run(int argc, char **argv)
{
	static struct book_options book = { .readers = 1000, .kills = 3, .rate = -1, .log_size = LOG_SIZE };
	book.patience_ns = 60 * NS_PER_SECOND;
	book.seed = clock_now();
	int status = parse(&book, argc, argv);
	if (status >= 0)
		return status;
	return book.address ? book_serve(&book) : book_run(&book);
}
