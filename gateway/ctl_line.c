/* SPDX-License-Identifier: MIT */
/* The command line of `sidgate ctl`. */
#include "gateway/ctl_call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct gw_ctl_flag_name gw_ctl_flags[GW_CTL_FLAG_COUNT] = {
    [GW_CTL_ADMIN] = {"admin", "ADDRESS"},
    [GW_CTL_TOKEN_FILE] = {"admin-token-file", "FILE"},
    [GW_CTL_CONFIG] = {"config", "FILE"},
    [GW_CTL_JSON] = {"json", NULL},
    [GW_CTL_HELP] = {"help", NULL},
    [GW_CTL_RATE] = {"rate", "N"},
    [GW_CTL_TIMEOUT] = {"timeout", "TIME"},
    [GW_CTL_POOL] = {"pool", "NAME"},
    [GW_CTL_BACKEND] = {"backend", "ID"},
    [GW_CTL_CLIENT] = {"client", "ADDRESS"},
    [GW_CTL_TRANSPORT] = {"transport", "polling|websocket"},
    [GW_CTL_GATEWAY] = {"gateway", "ID"},
    [GW_CTL_SEARCH] = {"search", "TEXT"},
    [GW_CTL_ENDED] = {"ended", NULL},
    [GW_CTL_LIMIT] = {"limit", "N"},
    [GW_CTL_ALL] = {"all", NULL},
    [GW_CTL_FOLLOW] = {"follow", NULL},
    [GW_CTL_LEVEL] = {"level", "LEVEL"},
    [GW_CTL_ONCE] = {"once", NULL},
    [GW_CTL_INTERVAL] = {"interval", "TIME"},
};

static bool usage(struct gw_ctl_call *call, const char *text, const char *word)
{
    snprintf(call->error, sizeof(call->error),
             "%.100s: %s; sidgate ctl --help lists all", word, text);
    return false;
}

/* The flag with this name, or GW_CTL_FLAG_COUNT. */
static size_t find_flag(const char *name, size_t len)
{
    size_t i = 0;

    while (i < GW_CTL_FLAG_COUNT &&
           (strlen(gw_ctl_flags[i].name) != len ||
            memcmp(gw_ctl_flags[i].name, name, len) != 0))
        i++;
    return i;
}

/* A word that begins with "--"; its value may be the next one. */
static bool read_flag(struct gw_ctl_call *call, char **argv, int *at)
{
    const char *word = argv[*at];
    const char *name = word + 2;
    const char *value = strchr(name, '=');
    size_t len = value != NULL ? (size_t)(value - name) : strlen(name);
    size_t flag = find_flag(name, len);

    if (flag == GW_CTL_FLAG_COUNT)
        return usage(call, "unknown option", word);
    bool has_value = gw_ctl_flags[flag].value != NULL;
    if (!has_value && value != NULL)
        return usage(call, "takes no value", word);
    if (has_value && call->values[flag] != NULL)
        return usage(call, "given more than once", word);
    if (has_value && value == NULL && argv[*at + 1] == NULL)
        return usage(call, "needs a value", word);
    call->values[flag] = !has_value      ? ""
                         : value != NULL ? value + 1
                                         : argv[++*at];
    return true;
}

static bool read_word(struct gw_ctl_call *call, const char *word)
{
    if (call->command != NULL) {
        if (call->command->operand == NULL || call->operand != NULL)
            return usage(call, "unexpected argument", word);
        call->operand = word;
        return true;
    }
    for (size_t i = 0; i < gw_ctl_command_count; i++)
        if (strcmp(gw_ctl_commands[i].name, word) == 0)
            call->command = &gw_ctl_commands[i];
    return call->command != NULL || usage(call, "unknown command", word);
}

/* Behind "--" stand words alone: a session id may begin with a dash. */
static bool read_words(struct gw_ctl_call *call, int argc, char **argv)
{
    bool has_flags = true;

    for (int at = 1; at < argc; at++) {
        bool is_flag = has_flags && strncmp(argv[at], "--", 2) == 0;

        if (is_flag && argv[at][2] == '\0')
            has_flags = false;
        else if (is_flag ? !read_flag(call, argv, &at)
                         : !read_word(call, argv[at]))
            return false;
    }
    return true;
}

/* One line of standard input in the place of the operand. */
static bool read_secret(struct gw_ctl_call *call)
{
    size_t len = 0;
    char *secret = call->secret;

    for (;;) {
        ssize_t got =
            read(STDIN_FILENO, secret + len, sizeof(call->secret) - len);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return usage(call, "standard input cannot be read", "-");
        len += (size_t)got;
        if (memchr(secret, '\n', len) != NULL || got == 0 ||
            len == sizeof(call->secret))
            break;
    }
    const char *end = memchr(secret, '\n', len);
    size_t line = end != NULL ? (size_t)(end - secret) : len;
    if (line == sizeof(call->secret) || memchr(secret, '\0', line) != NULL)
        return usage(call, "what stands there is no session id", "-");
    secret[line] = '\0';
    secret[strcspn(secret, "\r")] = '\0';
    call->operand = secret;
    return secret[0] != '\0' ||
           usage(call, "no session id stands on standard input", "-");
}

static bool check(struct gw_ctl_call *call)
{
    const struct gw_ctl_command *command = call->command;

    if (command == NULL)
        return usage(call, "a command is missing", "ctl");
    if (command->operand != NULL && !command->is_operand_optional &&
        call->operand == NULL)
        return usage(call, "its argument is missing", command->name);
    if (call->operand != NULL && call->operand[0] == '\0')
        return usage(call, "its argument is empty", command->name);
    for (size_t i = GW_CTL_OWN; i < GW_CTL_FLAG_COUNT; i++)
        if (call->values[i] != NULL && (command->flags & GW_CTL_HAS(i)) == 0)
            return usage(call, "no option of this command",
                         gw_ctl_flags[i].name);
    return true;
}

bool gw_ctl_read_line(struct gw_ctl_call *call, int argc, char **argv)
{
    if (!read_words(call, argc, argv))
        return false;
    if (gw_ctl_is_given(call, GW_CTL_HELP))
        return true;
    if (!check(call))
        return false;
    return !call->command->is_operand_secret ||
           strcmp(call->operand, "-") != 0 || read_secret(call);
}

bool gw_ctl_read_count(struct gw_ctl_call *call, enum gw_ctl_flag flag,
                       long max, long *out)
{
    const char *text = call->values[flag];
    char *end = NULL;

    if (text == NULL)
        return true;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 &&
        value >= 1 && value <= max) {
        *out = value;
        return true;
    }
    snprintf(call->error, sizeof(call->error),
             "--%s: %.100s is not between 1 and %ld", gw_ctl_flags[flag].name,
             text, max);
    return false;
}
