/* SPDX-License-Identifier: MIT */
/* The reader of configuration files, on any bytes. Names are not resolved. */
#include "gateway/options_parse.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void print(const struct gw_config *config)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (out == NULL)
        return;
    gw_options_print(config, out);
    fclose(out);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gw_config config;
    char error[GW_OPTIONS_ERROR_MAX] = "";
    struct gw_reader reader = {
        .config = &config, .error = error, .file = "fuzz.json"};
    char *text = malloc(size + 1);

    if (text == NULL)
        return 0;
    memset(&config, 0, sizeof(config));
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (gw_options_json(&reader, text, size) == 0)
        print(&config);
    else if (error[0] == '\0' || strchr(error, '\n') != NULL)
        abort(); /* every refusal is one line that says something */
    free(text);
    return 0;
}
