/* SPDX-License-Identifier: MIT */
/* The option table, and reading it from its sources in order. */
#include "gateway/options.h"

#include "gateway/options_parse.h"

#include <assert.h>
#include <ctype.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GW_GROUP(title) {.kind = GW_KIND_GROUP, .help = (title)},
#define GW_OPTION(n, k, field, lo, hi, def, arg, text)                         \
    {.name = (n),                                                              \
     .kind = GW_KIND_##k,                                                      \
     .offset = offsetof(struct gw_config, field),                              \
     .width = sizeof(((struct gw_config *)NULL)->field),                       \
     .min = (lo),                                                              \
     .max = (hi),                                                              \
     .initial = (def),                                                         \
     .argument = (arg),                                                        \
     .help = (text)},
#define GW_POOL_OPTION(n, k, field, lo, hi, def, arg, text)                    \
    {.name = (n),                                                              \
     .kind = GW_KIND_##k,                                                      \
     .is_of_pool = true,                                                       \
     .offset = offsetof(struct gw_config, pools) +                             \
               offsetof(struct gw_pool_config, field),                         \
     .width = sizeof(((struct gw_pool_config *)NULL)->field),                  \
     .min = (lo),                                                              \
     .max = (hi),                                                              \
     .initial = (def),                                                         \
     .argument = (arg),                                                        \
     .help = (text)},
#define GW_COMMAND(n, k, act, arg, text)                                       \
    {.name = (n),                                                              \
     .kind = GW_KIND_##k,                                                      \
     .initial = "",                                                            \
     .argument = (arg),                                                        \
     .help = (text),                                                           \
     .action = (act)},
const struct gw_option gw_option_table[] = {
#include "gateway/options.def"
};
#undef GW_GROUP
#undef GW_OPTION
#undef GW_POOL_OPTION
#undef GW_COMMAND

enum { OPTION_COUNT = sizeof(gw_option_table) / sizeof(gw_option_table[0]) };
const size_t gw_option_count = OPTION_COUNT;
static_assert(OPTION_COUNT <= (int)GW_OPTION_COUNT_MAX,
              "raise GW_OPTION_COUNT_MAX");

/* What the command line says beside the values of options. */
struct command_line {
    const char *config_file;
    enum gw_action action;
};

const struct gw_option *gw_option_find(const char *name, char separator)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const char *want = gw_option_table[i].name;
        const char *at = name;

        if (want == NULL)
            continue;
        while (*want != '\0' && *at == (*want == '-' ? separator : *want)) {
            want++;
            at++;
        }
        if (*want == '\0' && *at == '\0')
            return &gw_option_table[i];
    }
    return NULL;
}

void gw_option_environment(const struct gw_option *option, char out[64])
{
    snprintf(out, 64, "SIDGATE_%s", option->name);
    for (char *at = out; *at != '\0'; at++)
        *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
}

/* How the user wrote the option's name. */
static void option_label(const struct gw_reader *reader,
                         const struct gw_option *option, char *out, size_t size)
{
    char name[64];
    char pool[32] = "";

    switch (reader->origin) {
    case GW_ORIGIN_FILE:
        snprintf(name, sizeof(name), "%s", option->name);
        for (char *at = name; *at != '\0'; at++)
            *at = *at == '-' ? '_' : *at;
        if (reader->pool > 0)
            snprintf(pool, sizeof(pool), "pools[%zu]: ", reader->pool - 1);
        snprintf(out, size, "%.255s: %s%s", reader->file, pool, name);
        return;
    case GW_ORIGIN_COMMAND:
        snprintf(out, size, "%s", option->name);
        return;
    case GW_ORIGIN_ENVIRONMENT:
        gw_option_environment(option, name);
        snprintf(out, size, "%s", name);
        return;
    case GW_ORIGIN_DEFAULT:
    case GW_ORIGIN_FLAG:
        snprintf(out, size, "--%s", option->name);
        return;
    }
}

int gw_option_fail(struct gw_reader *reader, const struct gw_option *option,
                   const char *format, ...)
{
    char label[384];
    int used;
    va_list args;

    option_label(reader, option, label, sizeof(label));
    used = snprintf(reader->error, GW_OPTIONS_ERROR_MAX, "%s: ", label);
    va_start(args, format);
    vsnprintf(reader->error + used, GW_OPTIONS_ERROR_MAX - (size_t)used, format,
              args);
    va_end(args);
    for (char *at = reader->error; *at != '\0'; at++)
        if (iscntrl((unsigned char)*at))
            *at = '?';
    return -1;
}

/* `value` may be a misplaced URL. */
static int fail(struct gw_reader *reader, const char *text, const char *value)
{
    char masked[200];

    store_url_masked(value, masked, sizeof(masked));
    snprintf(reader->error, GW_OPTIONS_ERROR_MAX, "%s: %s", masked, text);
    for (char *at = reader->error; *at != '\0'; at++)
        if (iscntrl((unsigned char)*at))
            *at = '?';
    return -1;
}

/* A list's values in one text stand apart by spaces. */
static int set_words(struct gw_reader *reader, const struct gw_option *option,
                     const char *text)
{
    char word[1024];

    if (gw_option_begin(reader, option) != 0)
        return -1;
    if (!gw_option_repeats(option))
        return gw_option_set(reader, option, text);
    while (*(text += strspn(text, " \t\n")) != '\0') {
        size_t len = strcspn(text, " \t\n");

        if (len >= sizeof(word))
            return gw_option_fail(reader, option, "%.40s... is too long", text);
        memcpy(word, text, len);
        word[len] = '\0';
        if (gw_option_set(reader, option, word) != 0)
            return -1;
        text += len;
    }
    return 0;
}

/* Defaults that the table cannot hold. */
static void set_host_defaults(struct gw_config *config)
{
    char *name = config->gateway_name;
    cpu_set_t cpus;

    config->workers = 1;
    if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
        config->workers = (uint32_t)CPU_COUNT(&cpus);
    if (config->workers > 64)
        config->workers = 64;

    if (gethostname(name, sizeof(config->gateway_name) - 1) != 0 ||
        *name == '\0')
        snprintf(name, sizeof(config->gateway_name), "sidgate");
    name[sizeof(config->gateway_name) - 1] = '\0';
    for (; *name != '\0'; name++)
        if (!isalnum((unsigned char)*name) && strchr("._-", *name) == NULL)
            *name = '-';
}

static int set_defaults(struct gw_reader *reader)
{
    struct gw_config *config = reader->config;
    struct gw_pool_config *first = &config->pools[0];

    reader->origin = GW_ORIGIN_DEFAULT;
    set_host_defaults(config);
    config->pool_count = 1;
    snprintf(first->name, sizeof(first->name), "%s", GW_POOL_DEFAULT);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct gw_option *option = &gw_option_table[i];

        if (option->initial == NULL || *option->initial == '\0')
            continue;
        if (set_words(reader, option, option->initial) != 0)
            return -1;
    }
    return 0;
}

/* Empty variables are as good as absent: that is how a container's
 * specification leaves an option out. */
static const char *environment_value(const struct gw_option *option)
{
    char name[64];
    const char *value;

    gw_option_environment(option, name);
    value = getenv(name);
    return value == NULL || *value == '\0' ? NULL : value;
}

static int set_environment(struct gw_reader *reader)
{
    reader->origin = GW_ORIGIN_ENVIRONMENT;
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct gw_option *option = &gw_option_table[i];
        const char *value;

        if (option->kind == GW_KIND_GROUP || option->kind == GW_KIND_CONFIG ||
            option->kind == GW_KIND_ACTION)
            continue;
        value = environment_value(option);
        if (value != NULL && set_words(reader, option, value) != 0)
            return -1;
    }
    return 0;
}

static int set_action(struct gw_reader *reader, const struct gw_option *option,
                      struct command_line *line)
{
    if (line->action != GW_ACTION_RUN && line->action != option->action)
        return gw_option_fail(reader, option,
                              "only one of the commands can be given");
    line->action = option->action;
    return 0;
}

static int set_flag(struct gw_reader *reader, const struct gw_option *option,
                    const char *value, struct command_line *line)
{
    if (option->kind == GW_KIND_ACTION)
        return set_action(reader, option, line);
    if (option->kind == GW_KIND_CONFIG) {
        if (line->config_file != NULL)
            return gw_option_fail(reader, option, "given more than once");
        if (*value == '\0')
            return gw_option_fail(reader, option, "needs a value");
        line->config_file = value;
        return 0;
    }
    /* In the first of two passes over the flags. */
    if (reader->config == NULL)
        return 0;
    if (gw_option_begin(reader, option) != 0)
        return -1;
    return gw_option_set(reader, option, value);
}

/* Splits the flag at argv[*at] from its value, which may be the next word. */
static int read_flag(struct gw_reader *reader, char **argv, int *at,
                     struct command_line *line)
{
    const char *word = argv[*at] + 2;
    const char *value = strchr(word, '=');
    const struct gw_option *option;
    char name[64];

    snprintf(name, sizeof(name), "%.*s",
             (int)(value == NULL ? strlen(word) : (size_t)(value - word)),
             word);
    option = gw_option_find(name, '-');
    if (option == NULL)
        return fail(reader, "unknown option; --help lists all", argv[*at]);
    if (option->kind == GW_KIND_ACTION && value != NULL)
        return gw_option_fail(reader, option, "takes no value");
    if (option->kind == GW_KIND_ACTION)
        return set_flag(reader, option, "", line);
    if (value != NULL)
        return set_flag(reader, option, value + 1, line);
    if (option->kind == GW_KIND_SWITCH)
        return set_flag(reader, option, "true", line);
    if (argv[*at + 1] == NULL || strncmp(argv[*at + 1], "--", 2) == 0)
        return gw_option_fail(reader, option, "needs a value (%s)",
                              option->argument);
    (*at)++;
    return set_flag(reader, option, argv[*at], line);
}

static int read_flags(struct gw_reader *reader, int argc, char **argv,
                      struct command_line *line)
{
    reader->origin = GW_ORIGIN_FLAG;
    for (int at = 1; at < argc; at++) {
        if (strncmp(argv[at], "--", 2) == 0) {
            if (read_flag(reader, argv, &at, line) != 0)
                return -1;
        } else if (argv[at][0] == '-') {
            return fail(reader, "unknown option; --help lists all", argv[at]);
        } else {
            return fail(reader,
                        "unexpected argument; a backend is given as "
                        "--backend host:port",
                        argv[at]);
        }
    }
    return 0;
}

static bool action_needs_config(enum gw_action action)
{
    return action == GW_ACTION_RUN || action == GW_ACTION_CHECK ||
           action == GW_ACTION_PRINT_CONFIG;
}

int gw_options_read(int argc, char **argv, struct gw_config *config,
                    enum gw_action *action, char error[GW_OPTIONS_ERROR_MAX])
{
    struct gw_reader reader = {.error = error};
    struct command_line line = {.action = GW_ACTION_RUN};

    error[0] = '\0';
    memset(config, 0, sizeof(*config));
    /* The first pass finds the command and the file, which values of weaker
     * sources depend on; the second one sets the values. */
    if (read_flags(&reader, argc, argv, &line) != 0)
        return -1;
    *action = line.action;
    if (!action_needs_config(line.action))
        return 0;

    reader.config = config;
    if (set_defaults(&reader) != 0)
        return -1;
    if (line.config_file == NULL)
        line.config_file = environment_value(gw_option_find("config", '-'));
    if (line.config_file != NULL &&
        gw_options_file(&reader, line.config_file) != 0)
        return -1;
    if (set_environment(&reader) != 0)
        return -1;
    line.config_file = NULL;
    if (read_flags(&reader, argc, argv, &line) != 0)
        return -1;
    gw_options_fill(&reader);
    return gw_options_check(&reader);
}
