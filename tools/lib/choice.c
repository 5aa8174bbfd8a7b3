/* SPDX-License-Identifier: MIT
 *
 * choice.c - see choice.h.
 */
#include "choice.h"

#include <string.h>

int option_choice(const char *choices, const char *word)
{
	size_t size = strlen(word);
	for (int index = 0;; index++) {
		const char *end = strchrnul(choices, '|');
		if ((size_t)(end - choices) == size && !memcmp(choices, word, size))
			return index;
		if (!*end)
			return -1;
		choices = end + 1;
	}
}
