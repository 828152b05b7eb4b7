/* SPDX-License-Identifier: MIT */
/* The reader of configuration files, on any bytes. What it takes it prints as a
 * file that says the same. Names are not resolved. */
#include "gateway/options_parse.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The defaults: zero is out of the range of some options. */
static struct gw_config base;

static void read_base(void)
{
    char words[][24] = {"sidgate", "--backend=127.0.0.1:1"};
    char *argv[] = {words[0], words[1], NULL};
    char error[GW_OPTIONS_ERROR_MAX];
    enum gw_action action;

    if (base.workers == 0 &&
        gw_options_read(2, argv, &base, &action, error) != 0)
        abort();
}

static char *print(const struct gw_config *config, size_t *len)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, len);

    if (out == NULL)
        abort();
    gw_options_print(config, out);
    if (fclose(out) != 0)
        abort();
    return text;
}

static int read_text(struct gw_config *config, char *text, size_t len)
{
    char error[GW_OPTIONS_ERROR_MAX] = "";
    struct gw_reader reader = {
        .config = config, .error = error, .file = "fuzz.json"};
    int status;

    *config = base;
    status = gw_options_json(&reader, text, len);
    if (status == 0)
        gw_options_fill(&reader);
    if (status != 0 && (error[0] == '\0' || strchr(error, '\n') != NULL))
        abort(); /* every refusal is one line that says something */
    return status;
}

/* Not with an '@' in the store's URL: what may be a password is masked. */
static void check_again(const struct gw_config *config)
{
    static struct gw_config again;
    size_t first_len;
    size_t second_len;
    char *first = print(config, &first_len);
    char *copy = strdup(first);
    char *second;

    if (copy == NULL || read_text(&again, copy, first_len) != 0)
        abort();
    second = print(&again, &second_len);
    if (first_len != second_len || memcmp(first, second, first_len) != 0)
        abort();
    free(second);
    free(copy);
    free(first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gw_config config;
    char *text = malloc(size + 1);

    if (text == NULL)
        return 0;
    read_base();
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (read_text(&config, text, size) == 0 &&
        strchr(config.store_url, '@') == NULL)
        check_again(&config);
    free(text);
    return 0;
}
