/* SPDX-License-Identifier: MIT
 *
 * text.c - see text.h: which kernels serve. It knows no instruction set and no environment; the caller passes a name.
 */
#include "text_kernels.h"

/* Best first; the scalar ones are available everywhere. */
static const struct rc_kernels *const all[] = {
#if defined(__x86_64__)
	&rc_kernels_avx512,
	&rc_kernels_avx2,
#elif defined(__aarch64__)
	&rc_kernels_neon,
#endif
	&rc_kernels_scalar,
};

static const struct rc_kernels *chosen = &rc_kernels_scalar;

const char *rc_text_choose(const char *name)
{
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		if ((!name || strcmp(name, all[i]->name) == 0) && all[i]->available()) {
			chosen = all[i];
			return chosen->name;
		}
	}
	return NULL;
}

const char *rc_text_chosen(void)
{
	return chosen->name;
}

void rc_unmask(uint8_t *to, const uint8_t *from, size_t size, uint32_t mask)
{
	chosen->unmask(to, from, size, mask);
}

bool rc_utf8_check(struct rc_utf8 *state, const uint8_t *bytes, size_t size)
{
	return chosen->check(state, bytes, size);
}

bool rc_unmask_utf8(struct rc_utf8 *state, uint8_t *to, const uint8_t *from, size_t size, uint32_t mask)
{
	return chosen->unmask_utf8(state, to, from, size, mask);
}
