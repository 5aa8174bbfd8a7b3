/* SPDX-License-Identifier: MIT
 *
 * page.h - the page that `ringcast serve --demo` shows at `/`: one HTML document that loads nothing from elsewhere.
 */
#ifndef RC_PAGE_H
#define RC_PAGE_H

#include <stddef.h>

extern const char rc_page[];
extern const size_t rc_page_size;

#endif
