/* SPDX-License-Identifier: MIT */
/* What a gateway says, made fit for a terminal or a program. */
#include "gateway/ctl_text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static char plain(char c)
{
    return c >= ' ' && c <= '~' ? c : '?';
}

void gw_ctl_print(const char *text, FILE *out)
{
    for (; *text != '\0'; text++)
        fputc(plain(*text), out);
}

void gw_ctl_copy(const char *text, char *out, size_t size)
{
    size_t len = 0;

    for (; *text != '\0' && len + 1 < size; text++)
        out[len++] = plain(*text);
    out[len] = '\0';
    if (*text != '\0')
        memcpy(out + len - 3, "...", 3);
}

/* The length of the UTF-8 sequence there, with what it stands for; 0 when it is
 * none. */
static size_t decode(const unsigned char *at, size_t left, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = at[0] < 0x80   ? 1
                 : at[0] < 0xc0 ? 0
                 : at[0] < 0xe0 ? 2
                 : at[0] < 0xf0 ? 3
                 : at[0] < 0xf8 ? 4
                                : 0;

    if (len == 0 || len > left)
        return 0;
    *code = len == 1 ? at[0] : at[0] & (0x7fU >> len);
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (at[i] & 0x3f);
    }
    bool is_surrogate = *code >= 0xd800 && *code <= 0xdfff;
    return *code < least[len] || is_surrogate || *code > 0x10ffff ? 0 : len;
}

/* Line ends and tabs stand between values; within strings they are an error. */
static bool is_control(uint32_t code)
{
    return (code < ' ' && code != '\n' && code != '\t') ||
           (code >= 0x7f && code <= 0x9f);
}

void gw_ctl_print_json(const char *json, size_t len, FILE *out)
{
    for (size_t i = 0; i < len;) {
        unsigned char bytes[4] = {0};
        size_t left = len - i < sizeof(bytes) ? len - i : sizeof(bytes);
        uint32_t code = 0xfffd;

        memcpy(bytes, json + i, left);
        size_t size = decode(bytes, left, &code);
        if (size > 0 && code == '\r')
            fputc(' ', out);
        else if (size == 0 || is_control(code))
            fprintf(out, "\\u%04x", size == 0 ? 0xfffdU : code);
        else
            fprintf(out, "%.*s", (int)size, (const char *)bytes);
        i += size > 0 ? size : 1;
    }
}
