/* SPDX-License-Identifier: MIT
 *
 * page.h - the page that `ringcast serve --demo` shows at `/`: one HTML document that loads nothing from elsewhere.
 */
#ifndef SERVE_PAGE_H
#define SERVE_PAGE_H

#include <stddef.h>

extern const char serve_page[];
extern const size_t serve_page_size;

#endif
