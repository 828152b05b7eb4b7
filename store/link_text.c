/* SPDX-License-Identifier: MIT */
/* Redis' error texts in words for a log. */
#include "store/link_private.h"

#include <stdio.h>
#include <string.h>

#define IS_CLUSTER                                                             \
    "it is a node of a Redis Cluster: the URL of one begins with "             \
    "redis+cluster://"

struct words {
    const char *prefix;
    const char *text;
};

/* Errors that say something about the node, whatever was asked. */
static const struct words of_node[] = {
    {"NOAUTH ", "a password is needed"},
    {"LOADING ", "it is still loading its data"},
    {"MASTERDOWN ", "it is a replica that has lost its master"},
    {"READONLY ", "it is a read-only replica"},
    {"MOVED ", IS_CLUSTER},
    {"ASK ", IS_CLUSTER},
    {"CLUSTERDOWN ", IS_CLUSTER},
};

static const struct words of_setup[] = {
    {"WRONGPASS ", "wrong password"},
    {"ERR invalid password", "wrong password"},
    {"ERR Client sent AUTH, but no password is set",
     "a password is given, but it has none"},
    {"ERR AUTH <password> called without any password",
     "a password is given, but it has none"},
    {"DENIED ", "it is in protected mode: it takes no connections from other "
                "hosts until it has a password"},
    {"ERR max number of clients", "it has too many clients"},
    {"ERR SELECT is not allowed in cluster mode", IS_CLUSTER},
};

static const char *const of_cluster[] = {"MOVED ", "ASK ", "TRYAGAIN ",
                                         "CLUSTERDOWN "};

enum { COUNT_OF_CLUSTER = sizeof(of_cluster) / sizeof(of_cluster[0]) };
enum { COUNT_OF_NODE = sizeof(of_node) / sizeof(of_node[0]) };
enum { COUNT_OF_SETUP = sizeof(of_setup) / sizeof(of_setup[0]) };

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Up to version 6 the error of a command within a script is wrapped:
 * "ERR Error running script (call to ...): ...: -READONLY You can't ..." */
static const char *unwrapped(const char *text, const char *prefix)
{
    for (const char *at = strstr(text, " -"); at != NULL;
         at = strstr(at + 2, " -")) {
        if (has_prefix(at + 2, prefix))
            return at + 2;
    }
    return NULL;
}

/* A script that took its key away in a slot that is being moved, and then
 * looked for it: it is where the next command will be sent. */
bool store_link_is_cut_script(const char *text)
{
    return has_prefix(text, "ERR ") &&
           strstr(text, "access a non local key in a cluster node") != NULL;
}

bool store_link_is_stray(const char *text)
{
    if (store_link_is_cut_script(text))
        return true;
    for (size_t i = 0; i < COUNT_OF_CLUSTER; i++) {
        if (has_prefix(text, of_cluster[i]))
            return true;
    }
    return false;
}

const char *store_link_error_words(const char *text)
{
    bool is_wrapped = has_prefix(text, "ERR Error running script");

    for (size_t i = 0; i < COUNT_OF_NODE; i++) {
        const char *prefix = of_node[i].prefix;
        if (has_prefix(text, prefix) ||
            (is_wrapped && unwrapped(text, prefix) != NULL))
            return of_node[i].text;
    }
    return NULL;
}

void store_link_setup_words(const struct store_link *link, const char *command,
                            const char *text, char why[STORE_LINK_WHY_MAX])
{
    char clean[STORE_LINK_TEXT_MAX + 1];
    const char *words = store_link_error_words(text);

    for (size_t i = 0; words == NULL && i < COUNT_OF_SETUP; i++) {
        if (has_prefix(text, of_setup[i].prefix))
            words = of_setup[i].text;
    }
    /* An error may repeat what was sent; AUTH's holds the password then. */
    bool is_secret = strcmp(command, "AUTH") == 0;
    store_link_clean(link, is_secret ? "" : text, clean);
    if (words != NULL)
        snprintf(why, STORE_LINK_WHY_MAX, "%s", words);
    else if (has_prefix(text, "NOPERM"))
        snprintf(why, STORE_LINK_WHY_MAX, "no permission for %s", command);
    else if (strcmp(command, "SELECT") == 0 && has_prefix(text, "ERR ") &&
             strstr(text, " DB index") != NULL)
        snprintf(why, STORE_LINK_WHY_MAX, "it has no database %u",
                 link->options.db);
    else if (clean[0] != '\0')
        snprintf(why, STORE_LINK_WHY_MAX, "%s failed: %s", command, clean);
    else
        snprintf(why, STORE_LINK_WHY_MAX, "%s failed", command);
}

void store_link_clean(const struct store_link *link, const char *text,
                      char out[STORE_LINK_TEXT_MAX + 1])
{
    const char *password = link->options.password;
    size_t len = strnlen(text, STORE_LINK_TEXT_MAX);

    if (password[0] != '\0' && strstr(text, password) != NULL)
        len = 0;
    for (size_t i = 0; i < len; i++) {
        bool is_printable = text[i] >= ' ' && text[i] < 0x7f;
        out[i] = is_printable ? text[i] : '?';
    }
    out[len] = '\0';
}
