/* SPDX-License-Identifier: MIT
 *
 * chance.c - what a seed decides by itself: random numbers, faults by their weights, the hash of the run; and how a run
 * traces and fails.
 */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

uint64_t sim_random(void)
{
	/* splitmix64 (Steele, Lea and Flood, 2014) */
	uint64_t z = sim.state += UINT64_C(0x9E3779B97F4A7C15);
	z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
	return z ^ z >> 31;
}

uint32_t sim_below(uint32_t count)
{
	return (uint32_t)((sim_random() >> 32) * count >> 32);
}

bool sim_fault(enum fault kind)
{
	if (sim.quiet || !sim.weights[kind] || sim_below(65536) >= sim.weights[kind])
		return false;
	sim.struck_here[kind]++;
	return true;
}

void sim_met(enum fault kind)
{
	sim.struck_here[kind]++;
}

void sim_mix(uint64_t value)
{
	sim.hash = (sim.hash ^ value) * UINT64_C(0x9E3779B97F4A7C15) + (sim.hash >> 29);
}

void sim_trace(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	printf("%10.3f ms [%2d] ", (double)(sim.now_ns - sim.start_ns) / 1e6, host_current());
	vprintf(format, arguments);
	putchar('\n');
	va_end(arguments);
}

_Noreturn void sim_fail(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	fflush(stdout);
	fprintf(stderr, "\nseed %llu failed at step %llu: ", (unsigned long long)sim.seed,
	        (unsigned long long)sim.step);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	_exit(1);
}
