/* SPDX-License-Identifier: MIT
 *
 * names.c - see names.h.
 */
#include "names.h"

#include <string.h>

bool app_name_reserved(const char *name, size_t size)
{
	return (size >= 5 && memcmp(name, "room/", 5) == 0) || (size >= 5 && memcmp(name, "data/", 5) == 0);
}

bool app_name_matches(const char *pattern, size_t pattern_size, const char *name, size_t size)
{
	return pattern_size && pattern[pattern_size - 1] == '*' && size >= pattern_size - 1 &&
	       memcmp(pattern, name, pattern_size - 1) == 0;
}

bool app_names_hold(const char *list, const char *name, size_t size)
{
	for (const char *end; list; list = *end ? end + 1 : NULL) {
		list += strspn(list, " ");
		end = strchrnul(list, ',');
		size_t item_size = (size_t)(end - list);
		while (item_size && list[item_size - 1] == ' ')
			item_size--;
		if ((item_size == size && memcmp(list, name, size) == 0) ||
		    app_name_matches(list, item_size, name, size))
			return true;
	}
	return false;
}

bool app_name_reaches(const char *pattern, size_t pattern_size, const char *name, size_t size)
{
	return app_name_matches(pattern, pattern_size, name, size) &&
	       (!app_name_reserved(name, size) || app_name_reserved(pattern, pattern_size));
}
