/* SPDX-License-Identifier: MIT
 *
 * demo.h - a market that does not exist: a few hundred instruments whose prices walk at random, most of the trading in
 * few of them, and in bursts. Pure: seeded, and asked for the next trade; it reads no clock.
 */
#ifndef RC_DEMO_H
#define RC_DEMO_H

#include <stddef.h>
#include <stdint.h>

#define RC_DEMO_INSTRUMENTS 240
#define RC_DEMO_SYMBOL_SIZE 12
#define RC_DEMO_MESSAGE_SIZE 160
#define RC_DEMO_TOPIC "market" /* all trades; each symbol is a topic too */

struct rc_demo_instrument {
	char symbol[RC_DEMO_SYMBOL_SIZE]; /* "ACME.017" */
	double price;
	double tick;       /* the smallest step of its price */
	double volatility; /* standard deviation of the logarithm of a step */
	double cumulative; /* share of the trading of all instruments up to this one */
};

struct rc_demo {
	uint64_t random[4];
	double rate;      /* trades a second when nothing happens */
	double heat;      /* how much a burst multiplies the rate beyond 1; fades */
	unsigned hot;     /* the instrument that the burst is about */
	uint64_t time_ns; /* of the latest trade, from 0 */
	struct rc_demo_instrument instruments[RC_DEMO_INSTRUMENTS];
};

struct rc_demo_trade {
	const struct rc_demo_instrument *instrument;
	uint64_t time_ns; /* since the market opened */
	double price;
	unsigned size;
};

void rc_demo_open(struct rc_demo *demo, uint64_t seed, double rate);
void rc_demo_next(struct rc_demo *demo, struct rc_demo_trade *trade);

/* Writes {"symbol":...,"price":...,"size":...,"time":...} with the time in seconds since 1970. Returns its size. */
size_t rc_demo_format(const struct rc_demo_trade *trade, uint64_t opened_ns, char out[RC_DEMO_MESSAGE_SIZE]);

#endif
