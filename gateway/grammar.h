/* SPDX-License-Identifier: MIT */
/* Character classes of RFC 9110. */
#ifndef SIDGATE_GATEWAY_GRAMMAR_H
#define SIDGATE_GATEWAY_GRAMMAR_H

#include <stdbool.h>
#include <string.h>

static inline bool gw_is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
           (c >= 'a' && c <= 'z');
}

/* Of a method or a field name. */
static inline bool gw_is_token_char(char c)
{
    return gw_is_alnum(c) ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* Of a field value: visible characters, space, tab and Latin-1. */
static inline bool gw_is_field_char(char c)
{
    unsigned char u = (unsigned char)c;
    return u == '\t' || (u >= 0x20 && u != 0x7f);
}

/* 0 to 15, or -1. */
static inline int gw_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

#endif
