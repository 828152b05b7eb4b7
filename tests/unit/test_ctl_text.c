/* SPDX-License-Identifier: MIT */
/* What a gateway says, made fit for a terminal or a program. */
#include "gateway/ctl_text.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* What is printed of `len` bytes of JSON; the caller frees it. */
static char *print_json(const char *json, size_t len)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    cr_assert_neq(out, NULL);
    gw_ctl_print_json(json, len, out);
    fclose(out);
    return text;
}

static void expect_json(const char *json, const char *printed)
{
    char *text = print_json(json, strlen(json));

    cr_expect_str_eq(text, printed);
    free(text);
}

Test(ctl_text, print)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    cr_assert_neq(out, NULL);
    gw_ctl_print("a ~\t\n\033[2J\x7f\xc2\x9b\xff", out);
    fclose(out);
    cr_expect_str_eq(text, "a ~???[2J????");
    free(text);
}

Test(ctl_text, copy)
{
    char out[8];

    gw_ctl_copy("", out, sizeof(out));
    cr_expect_str_eq(out, "");
    gw_ctl_copy("a\033bcdef", out, sizeof(out));
    cr_expect_str_eq(out, "a?bcdef");
    gw_ctl_copy("abcdefgh", out, sizeof(out));
    cr_expect_str_eq(out, "abcd...");
    gw_ctl_copy("abcdefgh", out, 4);
    cr_expect_str_eq(out, "...");
}

Test(ctl_text, json_stays_as_it_is)
{
    expect_json("", "");
    expect_json("{\n\t\"a\": \"\\u001b\" }", "{\n\t\"a\": \"\\u001b\" }");
    expect_json("\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"",
                "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
}

Test(ctl_text, json_controls)
{
    expect_json("\"\033\"", "\"\\u001b\"");
    expect_json("\"\x7f\"", "\"\\u007f\"");
    expect_json("\"\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0\"",
                "\"\\u0080\\u009b\\u009f\xc2\xa0\"");
    expect_json("{\r\n}", "{ \n}");
}

Test(ctl_text, json_that_is_no_utf8)
{
    static const char *const wrong[] = {
        "\x80",             /* no lead */
        "\xff",             /* never */
        "\xc3",             /* cut short */
        "\xe2\x82",         /* as well */
        "\xf0\x9f\x98",     /* as well */
        "\xc0\xaf",         /* overlong */
        "\xe0\x80\x9b",     /* overlong */
        "\xf0\x80\x80\x9b", /* overlong */
        "\xed\xa0\x80",     /* surrogate */
        "\xf4\x90\x80\x80", /* too high */
        "\xf8\x88\x80\x80\x80",
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char *text = print_json(wrong[i], strlen(wrong[i]));

        cr_expect_eq(strspn(text, "\\ufd"), strlen(text), "%zu: %s", i, text);
        cr_expect_eq(strlen(text), 6 * strlen(wrong[i]), "%zu", i);
        free(text);
    }
    char *text = print_json("\xc3\"", 2);
    cr_expect_str_eq(text, "\\ufffd\"");
    free(text);
}

/* Every byte within a string: what comes out is JSON, and safe. */
Test(ctl_text, json_of_all_bytes)
{
    for (int byte = 1; byte < 256; byte++) {
        char json[] = {'"', 'a', (char)byte, 'b', '"', '\0'};

        if (byte == '"' || byte == '\\')
            continue;
        char *text = print_json(json, 5);
        cJSON *root = cJSON_Parse(text);
        cr_expect_neq(root, NULL, "%d: %s", byte, text);
        cJSON_Delete(root);
        for (const char *at = text; *at != '\0'; at++)
            cr_expect((*at >= ' ' && *at <= '~') || *at == '\n' || *at == '\t',
                      "%d: %s", byte, text);
        free(text);
    }
}
