/* SPDX-License-Identifier: MIT */
/* The shared store's URL, and what else is only for some kinds of it. */
#include "gateway/options_parse.h"

#include <string.h>

/* Nothing that is wrong with a URL may show the password in it: only
 * store_url_parse writes such lines. */
int gw_option_set_store(struct gw_reader *reader,
                        const struct gw_option *option, const char *text)
{
    struct gw_config *config = reader->config;
    char problem[STORE_URL_ERROR_MAX];
    size_t len = strlen(text);

    if (len >= sizeof(config->store_url))
        return gw_option_fail(reader, option, "the URL is over %zu bytes",
                              sizeof(config->store_url) - 1);
    if (store_url_parse(text, &config->store, problem) != 0)
        return gw_option_fail(reader, option, "%s", problem);
    memcpy(config->store_url, text, len + 1);
    return 0;
}

int gw_option_set_tls_name(struct gw_reader *reader,
                           const struct gw_option *option, const char *text)
{
    if (!gw_option_is_tls_name(text))
        return gw_option_fail(reader, option,
                              "%.80s is not a host name or address", text);
    memcpy(gw_option_field_of(reader, option), text, strlen(text) + 1);
    return 0;
}

static int check_sentinel(struct gw_reader *reader)
{
    const struct gw_config *config = reader->config;
    const char *option = NULL;

    if (config->sentinel_password_file[0] != '\0')
        option = "sentinel-password-file";
    if (config->sentinel_user[0] != '\0')
        option = "sentinel-user";
    if (option != NULL && config->store.kind != STORE_KIND_SENTINEL)
        return gw_option_fail(reader, gw_option_blame(reader, option),
                              "needs a --store redis+sentinel://hosts/master");
    /* Without a password nobody logs in. */
    if (config->sentinel_user[0] != '\0' &&
        config->sentinel_password_file[0] == '\0')
        return gw_option_fail(reader, gw_option_blame(reader, option),
                              "needs a --sentinel-password-file");
    return 0;
}

/* Who asks for TLS is not given a connection without it. */
static int check_tls(struct gw_reader *reader)
{
    const struct gw_config *config = reader->config;
    const struct {
        const char *option;
        bool is_given;
    } only_tls[] = {
        {"store-ca", config->store_ca[0] != '\0'},
        {"store-certificate", config->store_certificate.file[0] != '\0'},
        {"store-tls-name", config->store_tls_name[0] != '\0'},
        {"store-verify", !config->store_verify},
    };

    /* All hosts are as the scheme says. */
    if (config->store.host_count > 0 && config->store.hosts[0].is_tls)
        return 0;
    for (size_t i = 0; i < sizeof(only_tls) / sizeof(only_tls[0]); i++)
        if (only_tls[i].is_given)
            return gw_option_fail(reader,
                                  gw_option_blame(reader, only_tls[i].option),
                                  "needs a --store rediss://, "
                                  "rediss+sentinel:// or rediss+cluster://");
    return 0;
}

int gw_options_check_store(struct gw_reader *reader)
{
    return check_sentinel(reader) != 0 ? -1 : check_tls(reader);
}
