/* SPDX-License-Identifier: MIT */
/* What a gateway says, made fit for a terminal or a program. */
#ifndef SIDGATE_GATEWAY_CTL_TEXT_H
#define SIDGATE_GATEWAY_CTL_TEXT_H

#include <stddef.h>
#include <stdio.h>

/* Prints text with '?' for all that is not visible ASCII or a space: a terminal
 * might obey it. */
void gw_ctl_print(const char *text, FILE *out);

/* Copies text in that way; what does not fit ends in "...". `size` is at least
 * 4. */
void gw_ctl_copy(const char *text, char *out, size_t size);

/* Prints JSON, which keeps its meaning: control characters within strings
 * become escapes, bytes that are no UTF-8 become U+FFFD. */
void gw_ctl_print_json(const char *json, size_t len, FILE *out);

#endif
