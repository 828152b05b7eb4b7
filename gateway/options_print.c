/* SPDX-License-Identifier: MIT */
/* The option table as help, as manual page and as configuration file. */
#include "gateway/options_parse.h"

#include <string.h>

enum { HELP_INDENT = 8, LINE_WIDTH = 78 };

/* Text in lines of at most LINE_WIDTH. In mdoc each sentence has its own. */
static void print_wrapped(FILE *out, const char *text, int indent, bool is_mdoc)
{
    int column = 0;

    while (*(text += strspn(text, " ")) != '\0') {
        int len = (int)strcspn(text, " ");

        if (column > 0 && column + 1 + len > LINE_WIDTH) {
            fputc('\n', out);
            column = 0;
        }
        if (column == 0)
            column = fprintf(out, "%*s%.*s", indent, "", len, text);
        else
            column += fprintf(out, " %.*s", len, text);
        text += len;
        if (is_mdoc && text[-1] == '.')
            column = LINE_WIDTH;
    }
    fputc('\n', out);
}

/* A switch that is on is shown with its value: the flag alone would be of no
 * use. */
static bool is_on(const struct gw_option *option)
{
    return option->kind == GW_KIND_SWITCH &&
           strcmp(option->initial, "true") == 0;
}

enum { DEFAULT_WIDTH = 60 };

/* "10ms to 1h, default 10s" or nothing. */
static void facts(const struct gw_option *option, char *out, size_t size)
{
    char low[32];
    char high[32];

    out[0] = '\0';
    if (option->kind == GW_KIND_COUNT || option->kind == GW_KIND_SIZE ||
        option->kind == GW_KIND_TIME) {
        gw_quantity_text(option->kind, option->min, low);
        gw_quantity_text(option->kind, option->max, high);
        snprintf(out, size, "%s to %s%s%s", low, high,
                 *option->initial == '\0' ? "" : ", default ", option->initial);
    } else if (strlen(option->initial) > DEFAULT_WIDTH) {
        snprintf(out, size, "default: see --print-config");
    } else if (*option->initial != '\0') {
        snprintf(out, size, "default %s", option->initial);
    }
}

/* The value's form behind its option, in several lines where it is long: cut
 * before what may be left out, or stand in its place. */
static void help_form(FILE *out, const char *name, const char *form)
{
    int column = fprintf(out, "  --%s ", name);

    while (*form != '\0') {
        int len = 1 + (int)strcspn(form + 1, "[|");

        if (column + len > LINE_WIDTH)
            column = fprintf(out, "\n%*s", HELP_INDENT, "");
        column += fprintf(out, "%.*s", len, form);
        form += len;
    }
    fputc('\n', out);
}

static void help_option(FILE *out, const struct gw_option *option)
{
    char text[1024];
    char extra[160];

    facts(option, extra, sizeof(extra));
    if (is_on(option))
        fprintf(out, "  --%s=%s\n", option->name, option->argument);
    else if (*option->argument == '\0' || option->kind == GW_KIND_SWITCH)
        fprintf(out, "  --%s\n", option->name);
    else
        help_form(out, option->name, option->argument);
    snprintf(text, sizeof(text), "%s%s%s%s", option->help,
             *extra == '\0' ? "" : " (", extra, *extra == '\0' ? "" : ")");
    print_wrapped(out, text, HELP_INDENT, false);
}

void gw_options_help(FILE *out)
{
    fputs("Usage: sidgate --backend [id=]host:port [option ...]\n"
          "       sidgate --config file [option ...]\n"
          "\n"
          "A gateway for Socket.IO clusters that routes by session id.\n",
          out);
    for (size_t i = 0; i < gw_option_count; i++) {
        const struct gw_option *option = &gw_option_table[i];

        if (option->kind == GW_KIND_GROUP)
            fprintf(out, "\n%s\n", option->help);
        else
            help_option(out, option);
    }
    fputs("\n"
          "Times are written 250ms, 10s, 2m, 1h or as plain milliseconds; "
          "sizes 512, 64k,\n"
          "1m. A value may also stand in the environment (--log-level is "
          "there called\n"
          "SIDGATE_LOG_LEVEL; spaces separate a list's values) or in the "
          "file. Flags win\n"
          "over the environment, and that wins over the file.\n",
          out);
}

static void man_option(FILE *out, const struct gw_option *option)
{
    char extra[160];

    if (is_on(option))
        fprintf(out, ".It Fl -%s Ns = Ns Ar %s\n", option->name,
                option->argument);
    else if (*option->argument == '\0' || option->kind == GW_KIND_SWITCH)
        fprintf(out, ".It Fl -%s\n", option->name);
    else
        fprintf(out, ".It Fl -%s Ar %s\n", option->name, option->argument);
    print_wrapped(out, option->help, 0, true);
    facts(option, extra, sizeof(extra));
    if (*extra != '\0')
        fprintf(out, "%c%s.\n", extra[0] == 'd' ? 'D' : extra[0], extra + 1);
    if (gw_option_is_for_pools(option))
        fputs("Each pool may have its own.\n", out);
}

void gw_options_man(FILE *out)
{
    bool is_open = false;

    for (size_t i = 0; i < gw_option_count; i++) {
        const struct gw_option *option = &gw_option_table[i];

        if (option->kind != GW_KIND_GROUP) {
            man_option(out, option);
            continue;
        }
        fprintf(out, "%s.Ss %s\n.Bl -tag -width Ds\n", is_open ? ".El\n" : "",
                option->help);
        is_open = true;
    }
    fputs(".El\n", out);
}

static void print_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static void print_key(FILE *out, const char *name)
{
    fputc('"', out);
    for (; *name != '\0'; name++)
        fputc(*name == '-' ? '_' : *name, out);
    fputs("\": ", out);
}

/* One configuration, or one of its pools. */
struct printer {
    FILE *out;
    const struct gw_config *config;
    size_t pool;
    int indent; /* of its keys */
};

static void print_list(const struct printer *printer,
                       const struct gw_option *option)
{
    FILE *out = printer->out;
    char text[GW_OPTION_TEXT_MAX];
    size_t count = 0;

    fputc('[', out);
    for (size_t n = 0;
         gw_option_list_text(option, printer->config, printer->pool, n, text);
         n++) {
        if (text[0] == '\0')
            continue;
        fprintf(out, "%s\n%*s", count++ == 0 ? "" : ",", printer->indent + 2,
                "");
        print_string(out, text);
    }
    if (count > 0)
        fprintf(out, "\n%*s", printer->indent, "");
    fputc(']', out);
}

static void print_option(const struct printer *printer,
                         const struct gw_option *option)
{
    char text[GW_VALUE_TEXT_MAX];

    print_key(printer->out, option->name);
    if (gw_option_repeats(option)) {
        print_list(printer, option);
        return;
    }
    gw_option_text(option, printer->config, printer->pool, text);
    if (option->kind == GW_KIND_SWITCH || option->kind == GW_KIND_COUNT)
        fputs(text, printer->out);
    else
        print_string(printer->out, text);
}

/* Is it as in the first pool, for a pool that says nothing of it? */
static bool is_unsaid(const struct gw_option *option,
                      const struct gw_config *config, size_t pool)
{
    char first[GW_VALUE_TEXT_MAX];
    char text[GW_VALUE_TEXT_MAX];

    if (gw_option_repeats(option) || option->kind == GW_KIND_PREFIX_PATH ||
        option->kind == GW_KIND_CANARY)
        return false;
    gw_option_text(option, config, 0, first);
    gw_option_text(option, config, pool, text);
    return strcmp(first, text) == 0;
}

static void print_pool(const struct printer *printer)
{
    FILE *out = printer->out;
    const struct gw_config *config = printer->config;

    fprintf(out, "%s\n    {\n      \"name\": ", printer->pool == 1 ? "" : ",");
    print_string(out, config->pools[printer->pool].name);
    for (size_t i = 0; i < gw_option_count; i++) {
        const struct gw_option *option = &gw_option_table[i];

        if (!gw_option_is_for_pools(option) ||
            is_unsaid(option, config, printer->pool))
            continue;
        fprintf(out, ",\n%*s", printer->indent, "");
        print_option(printer, option);
    }
    fputs("\n    }", out);
}

static void print_pools(const struct gw_config *config, FILE *out)
{
    struct printer printer = {.out = out, .config = config, .indent = 6};

    fputs(",\n  \"pools\": [", out);
    for (size_t i = 1; i < config->pool_count; i++) {
        printer.pool = i;
        print_pool(&printer);
    }
    fputs(config->pool_count > 1 ? "\n  ]" : "]", out);
}

void gw_options_print(const struct gw_config *config, FILE *out)
{
    const struct printer printer = {.out = out, .config = config, .indent = 2};
    const char *separator = "{\n  ";

    for (size_t i = 0; i < gw_option_count; i++) {
        const struct gw_option *option = &gw_option_table[i];

        if (option->kind == GW_KIND_GROUP || option->kind == GW_KIND_CONFIG ||
            option->kind == GW_KIND_ACTION)
            continue;
        fputs(separator, out);
        separator = ",\n  ";
        print_option(&printer, option);
    }
    print_pools(config, out);
    fputs("\n}\n", out);
}
