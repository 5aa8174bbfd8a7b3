/* SPDX-License-Identifier: MIT
 *
 * demo.c - see demo.h. Trades are a Poisson process whose rate jumps when a burst begins and fades again; a burst is
 * about one instrument, which then gets half of all trades. Activity follows a power of the rank.
 */
#include "demo.h"

#include <math.h>
#include <stdio.h>

#include "lib/random.h"

#define ACTIVITY_EXPONENT 1.1
#define BURSTS_A_SECOND 0.15
#define BURST_HEAT 4.0 /* a burst begins by making the market 1 + this many times as busy */
#define BURST_FADE_SECONDS 1.5
#define BURST_SHARE 0.5
#define PRICE_FLOOR_TICKS 10

static const char *const roots[] = {
	"ACME", "BOLT", "CRUX", "DUNE", "ECHO", "FLUX", "GALE", "HALO", "IRIS", "JADE", "KITE", "LUNA",
};
#define ROOT_COUNT (sizeof roots / sizeof *roots)

/* Box and Muller's transform, one of its two results. */
static double normal(uint64_t state[4])
{
	double radius = sqrt(-2 * log(1 - random_share(state)));
	return radius * cos(2 * 3.14159265358979323846 * random_share(state));
}

void serve_demo_open(struct serve_demo *demo, uint64_t seed, double rate)
{
	*demo = (struct serve_demo){ .rate = rate };
	random_seed(demo->random, seed);
	double sum = 0;
	for (unsigned index = 0; index < SERVE_DEMO_INSTRUMENTS; index++) {
		struct serve_demo_instrument *instrument = &demo->instruments[index];
		snprintf(instrument->symbol, sizeof instrument->symbol, "%s.%03u", roots[index % ROOT_COUNT], index);
		instrument->price = exp(2 + 4 * random_share(demo->random)); /* 7 to 400 */
		instrument->tick = instrument->price < 20 ? 0.005 : 0.01;
		instrument->volatility = 0.0002 + 0.0008 * random_share(demo->random);
		instrument->cumulative = sum += 1 / pow(index + 1, ACTIVITY_EXPONENT);
	}
	for (unsigned index = 0; index < SERVE_DEMO_INSTRUMENTS; index++)
		demo->instruments[index].cumulative /= sum;
}

/* The instrument below whose cumulative share a random share falls. */
static unsigned choose(struct serve_demo *demo)
{
	if (random_share(demo->random) < BURST_SHARE * fmin(demo->heat, 1))
		return demo->hot;
	double share = random_share(demo->random);
	unsigned low = 0, high = SERVE_DEMO_INSTRUMENTS - 1;
	while (low < high) {
		unsigned middle = (low + high) / 2;
		if (demo->instruments[middle].cumulative > share)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

void serve_demo_next(struct serve_demo *demo, struct serve_demo_trade *trade)
{
	double seconds = -log(1 - random_share(demo->random)) / (demo->rate * (1 + demo->heat));
	demo->time_ns += (uint64_t)(seconds * 1e9) + 1;
	demo->heat *= exp(-seconds / BURST_FADE_SECONDS);
	if (random_share(demo->random) < seconds * BURSTS_A_SECOND) {
		demo->heat = BURST_HEAT;
		demo->hot = random_below(demo->random, SERVE_DEMO_INSTRUMENTS);
	}
	struct serve_demo_instrument *instrument = &demo->instruments[choose(demo)];
	double price = instrument->price * exp(instrument->volatility * normal(demo->random));
	double ticks = fmax(round(price / instrument->tick), PRICE_FLOOR_TICKS);
	instrument->price = ticks * instrument->tick;
	*trade = (struct serve_demo_trade){
		.instrument = instrument,
		.time_ns = demo->time_ns,
		.price = instrument->price,
		.size = 1 + (unsigned)fmin(exp(2 + 1.5 * normal(demo->random)), 100000), /* lognormal: rarely large */
	};
}

size_t serve_demo_format(const struct serve_demo_trade *trade, uint64_t opened_ns, char out[SERVE_DEMO_MESSAGE_SIZE])
{
	uint64_t microseconds = (opened_ns + trade->time_ns) / 1000;
	int size = snprintf(out, SERVE_DEMO_MESSAGE_SIZE,
	                    "{\"symbol\":\"%s\",\"price\":%.3f,\"size\":%u,\"time\":%llu.%06llu}",
	                    trade->instrument->symbol, trade->price, trade->size,
	                    (unsigned long long)(microseconds / 1000000), (unsigned long long)(microseconds % 1000000));
	return (size_t)size;
}
