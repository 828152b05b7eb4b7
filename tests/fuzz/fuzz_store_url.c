/* SPDX-License-Identifier: MIT */
/* Fuzzes the store's URL: what is accepted is within its bounds, and neither
 * an error nor the masked form shows the password. */
#include "store/url.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_true)
{
    if (!is_true)
        abort();
}

static void check_host(const struct store_url *url,
                       const struct store_address *to)
{
    require(memchr(to->host, '\0', sizeof(to->host)) != NULL);
    require(to->host[0] != '\0');
    require(to->is_unix == (to->host[0] == '/'));
    require(to->is_unix ? !to->is_tls && url->kind == STORE_KIND_SINGLE
                        : to->port > 0);
    require(to->is_tls == url->hosts[0].is_tls);
}

static void check_master(const char *master)
{
    for (; *master != '\0'; master++)
        require(*master > ' ' && *master < 0x7f && *master != '/');
}

static void check_url(const struct store_url *url)
{
    bool is_list =
        url->kind == STORE_KIND_SENTINEL || url->kind == STORE_KIND_CLUSTER;

    require(url->db <= 9999);
    require(url->db == 0 || url->kind != STORE_KIND_CLUSTER);
    require(memchr(url->user, '\0', sizeof(url->user)) != NULL);
    require(memchr(url->password, '\0', sizeof(url->password)) != NULL);
    require(memchr(url->master, '\0', sizeof(url->master)) != NULL);
    require((url->master[0] != '\0') == (url->kind == STORE_KIND_SENTINEL));
    check_master(url->master);
    require((url->host_count == 0) == (url->kind == STORE_KIND_MEMORY));
    require(url->host_count <= (is_list ? STORE_URL_HOSTS_MAX : 1));
    for (unsigned i = 0; i < url->host_count; i++)
        check_host(url, &url->hosts[i]);
}

/* The password of a URL that was accepted stands between the first colon
 * behind the scheme and the last '@' before the host or path. */
static void check_masked(const char *text, const char *masked,
                         const struct store_url *url)
{
    const char *start = strstr(text, "://");

    if (url->password[0] == '\0' || start == NULL)
        return;
    const char *secret = strchr(start + 3, ':') + 1;
    const char *at = strrchr(text, '@');
    size_t before = (size_t)(secret - text);
    require(memcmp(text, masked, before) == 0);
    require(memcmp(masked + before, "***", 3) == 0);
    require(strcmp(masked + before + 3, at) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[STORE_URL_ERROR_MAX];
    struct store_url url;
    char *text = malloc(size + 1);
    char *masked = malloc(size + 4);

    require(text != NULL && masked != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    store_url_masked(text, masked, size + 4);
    memset(error, 'x', sizeof(error));
    if (store_url_parse(text, &url, error) == 0) {
        check_url(&url);
        check_masked(text, masked, &url);
    } else {
        require(memchr(error, '\0', sizeof(error)) != NULL);
        for (const char *c = error; *c != '\0'; c++)
            require(*c >= ' ' && *c < 0x7f);
        require(url.password[0] == '\0' && url.host_count == 0);
    }
    free(text);
    free(masked);
    return 0;
}
