/* SPDX-License-Identifier: MIT
 *
 * demo.h - a market that does not exist: a few hundred instruments whose prices walk at random, most of the trading in
 * few of them, and in bursts. Pure: seeded, and asked for the next trade; it reads no clock.
 */
#ifndef SERVE_DEMO_H
#define SERVE_DEMO_H

#include <stddef.h>
#include <stdint.h>

#define SERVE_DEMO_INSTRUMENTS 240
#define SERVE_DEMO_SYMBOL_SIZE 12
#define SERVE_DEMO_MESSAGE_SIZE 160
#define SERVE_DEMO_TOPIC "market" /* all trades; each symbol is a topic too */
#define SERVE_DEMO_BOOK "ACME"    /* of the one order book, in the keyed topic book.ACME */

struct serve_demo_instrument {
	char symbol[SERVE_DEMO_SYMBOL_SIZE]; /* "ACME.017" */
	double price;
	double tick;       /* the smallest step of its price */
	double volatility; /* standard deviation of the logarithm of a step */
	double cumulative; /* share of the trading of all instruments up to this one */
};

struct serve_demo {
	uint64_t random[4];
	double rate;      /* trades a second when nothing happens */
	double heat;      /* how much a burst multiplies the rate beyond 1; fades */
	unsigned hot;     /* the instrument that the burst is about */
	uint64_t time_ns; /* of the latest trade, from 0 */
	struct serve_demo_instrument instruments[SERVE_DEMO_INSTRUMENTS];
};

struct serve_demo_trade {
	const struct serve_demo_instrument *instrument;
	uint64_t time_ns; /* since the market opened */
	double price;
	unsigned size;
};

void serve_demo_open(struct serve_demo *demo, uint64_t seed, double rate);
void serve_demo_next(struct serve_demo *demo, struct serve_demo_trade *trade);

/* Writes {"symbol":...,"price":...,"size":...,"time":...} with the time in seconds since 1970. Returns its size. */
size_t serve_demo_format(const struct serve_demo_trade *trade, uint64_t opened_ns, char out[SERVE_DEMO_MESSAGE_SIZE]);

#endif
