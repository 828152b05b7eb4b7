/* SPDX-License-Identifier: MIT */
/* Which gateway `sidgate ctl` is about. */
#include "gateway/ctl_client.h"
#include "gateway/options_parse.h"

#include <stdlib.h>
#include <string.h>

static const char default_address[] = "127.0.0.1:9180";

/* NULL for one that is empty, as for one that is not there. */
static const char *variable(const struct gw_option *option)
{
    char name[64];

    gw_option_environment(option, name);
    const char *value = getenv(name);
    return value != NULL && *value != '\0' ? value : NULL;
}

/* Sets one option from the command line or the environment. Returns 1 when
 * neither has it, else 0 or -1. */
static int set_near(struct gw_reader *reader, const struct gw_option *option,
                    const char *flag)
{
    const char *value = flag != NULL ? flag : variable(option);

    if (value == NULL)
        return 1;
    reader->origin = flag != NULL ? GW_ORIGIN_FLAG : GW_ORIGIN_ENVIRONMENT;
    if (gw_option_begin(reader, option) != 0)
        return -1;
    return gw_option_set(reader, option, value);
}

/* What the file says of the two options, where they are not given nearer. */
static bool read_file(const char *name, bool wants_admin, bool wants_token,
                      struct gw_config *out, char *error)
{
    static struct gw_config config;
    static struct gw_reader reader;

    config.pool_count = 1;
    reader = (struct gw_reader){.config = &config, .error = error};
    if (gw_options_file(&reader, name) != 0)
        return false;
    if (wants_admin)
        out->admin = config.admin;
    if (wants_token)
        memcpy(out->admin_token_file, config.admin_token_file,
               sizeof(out->admin_token_file));
    return true;
}

bool gw_ctl_find_target(const struct gw_ctl_given *given,
                        struct gw_ctl_target *target,
                        char error[GW_OPTIONS_ERROR_MAX])
{
    static struct gw_config config;
    static struct gw_reader reader;
    const char *file = given->config != NULL
                           ? given->config
                           : variable(gw_option_find("config", '-'));

    reader = (struct gw_reader){.config = &config, .error = error};
    int admin = set_near(&reader, gw_option_find("admin", '-'), given->admin);
    int token = admin < 0
                    ? -1
                    : set_near(&reader, gw_option_find("admin-token-file", '-'),
                               given->token_file);
    if (admin < 0 || token < 0)
        return false;
    if (file != NULL && (admin > 0 || token > 0) &&
        !read_file(file, admin > 0, token > 0, &config, error))
        return false;
    bool is_silent = admin > 0 && file == NULL;
    const char *port = strrchr(config.admin.text, ':');

    if (port != NULL && strspn(port + 1, "0") == strlen(port + 1) &&
        !gw_address_is_unix(&config.admin)) {
        snprintf(error, GW_OPTIONS_ERROR_MAX,
                 "%s: name the port that the gateway got", config.admin.text);
        return false;
    }
    if (config.admin.text[0] == '\0' && !is_silent) {
        snprintf(error, GW_OPTIONS_ERROR_MAX,
                 "the gateway has no operator listener (admin is off)");
        return false;
    }
    if (is_silent)
        memcpy(config.admin.text, default_address, sizeof(default_address));
    /* It is the one file of secrets that is named here. */
    if (gw_options_read_secrets(&reader) != 0)
        return false;
    target->stop_fd = -1;
    target->address = config.admin;
    memcpy(target->token, config.admin_token, sizeof(target->token));
    return true;
}
