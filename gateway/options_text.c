/* SPDX-License-Identifier: MIT */
/* Values as the text that they were read from. */
#include "gateway/options_parse.h"

#include <netinet/in.h>
#include <string.h>

static void listen_text(const struct gw_listen_config *listen, char *out,
                        size_t size)
{
    char redirect[24] = "";
    char mode[24] = "";

    if (listen->redirects)
        snprintf(redirect, sizeof(redirect), ",redirect");
    if (listen->redirects && listen->https_port != GW_HTTPS_PORT)
        snprintf(redirect, sizeof(redirect), ",redirect=%u",
                 (unsigned)listen->https_port);
    if (gw_address_is_unix(&listen->address) &&
        listen->unix_mode != GW_UNIX_MODE)
        snprintf(mode, sizeof(mode), ",mode=%04o", listen->unix_mode);
    snprintf(out, size, "%s%s%s%s%s", listen->address.text,
             listen->is_tls ? ",tls" : "", listen->has_proxy ? ",proxy" : "",
             redirect, mode);
}

/* What follows an address: those of the parts that say something. */
static void parts_text(const struct gw_backend_config *backend,
                       const char *default_name, char *out, size_t size)
{
    bool has_name =
        backend->is_tls && strcmp(backend->tls_name, default_name) != 0;
    char weight[24] = "";
    char max[24] = "";

    if (backend->weight != 1)
        snprintf(weight, sizeof(weight), ",weight=%u", backend->weight);
    if (backend->max_sessions != 0)
        snprintf(max, sizeof(max), ",max=%u", backend->max_sessions);
    snprintf(out, size, "%s%s%s%s%s%s%s", weight, max,
             backend->is_drained ? ",drain" : "", backend->is_tls ? ",tls" : "",
             has_name ? ",name=" : "", has_name ? backend->tls_name : "",
             backend->is_unverified ? ",verify=off" : "");
}

static void backend_text(const struct gw_config *config,
                         const struct gw_backend_config *backend, char *out,
                         size_t size)
{
    const char *id = backend->id;
    char host[GW_ADDRESS_MAX];
    char parts[GW_OPTION_TEXT_MAX / 2];
    bool has_id;

    if (backend->pool > 0)
        id += strlen(config->pools[backend->pool].name) + 1;
    has_id = strcmp(id, backend->address.text) != 0;
    gw_address_host(&backend->address, host);
    parts_text(backend, host, parts, sizeof(parts));
    snprintf(out, size, "%s%s%s%s", has_id ? id : "", has_id ? "=" : "",
             backend->address.text, parts);
}

static void discover_text(const struct gw_discover_config *discover, char *out,
                          size_t size)
{
    char port[16] = "";
    char parts[GW_OPTION_TEXT_MAX / 2];

    parts_text(&discover->backend, "", parts, sizeof(parts));
    if (!discover->is_srv)
        snprintf(port, sizeof(port), ":%u", (unsigned)discover->port);
    snprintf(out, size, "%s%s%s%s", discover->is_srv ? "srv:" : "",
             discover->name, port, parts);
}

static void net_text(const struct gw_net *net, char *out, size_t size)
{
    char base[INET6_ADDRSTRLEN];
    unsigned all = net->base.family == AF_INET ? 32 : 128;

    gw_peer_text(&net->base, base, sizeof(base));
    if (net->bits == all)
        snprintf(out, size, "%s", base);
    else
        snprintf(out, size, "%s/%u", base, (unsigned)net->bits);
}

static void certificate_text(const struct gw_certificate_config *certificate,
                             char *out, size_t size)
{
    bool has_key = strcmp(certificate->key, certificate->file) != 0;
    bool has_ocsp = certificate->ocsp[0] != '\0';

    snprintf(out, size, "%s%s%s%s%s", certificate->file, has_key ? ",key=" : "",
             has_key ? certificate->key : "", has_ocsp ? ",ocsp=" : "",
             has_ocsp ? certificate->ocsp : "");
}

static void hash_key_text(const struct gw_hash_key *key, char *out, size_t size)
{
    snprintf(out, size, "%s%s", gw_hash_sources[key->source], key->name);
}

static void canary_text(const struct gw_canary *canary, char *out, size_t size)
{
    bool has_header = canary->header[0] != '\0';
    char percent[24] = "";

    if (canary->pool[0] != '\0' && (canary->percent > 0 || !has_header))
        snprintf(percent, sizeof(percent), ",percent=%u", canary->percent);
    snprintf(out, size, "%s%s%s%s%s%s", canary->pool, percent,
             has_header ? ",header=" : "", canary->header,
             has_header ? ":" : "", canary->value);
}

static void status_text(const uint32_t *status, char *out, size_t size)
{
    if (status[0] == status[1])
        snprintf(out, size, "%u", status[0]);
    else
        snprintf(out, size, "%u-%u", status[0], status[1]);
}

bool gw_option_list_text(const struct gw_option *option,
                         const struct gw_config *config, size_t pool, size_t n,
                         char out[GW_OPTION_TEXT_MAX])
{
    const struct gw_pool_config *of = &config->pools[pool];
    const size_t size = GW_OPTION_TEXT_MAX;

    out[0] = '\0';
    if (n >= gw_option_length(option, config, pool))
        return false;
    switch ((int)option->kind) {
    case GW_KIND_LISTEN:
        listen_text(&config->listen[n], out, size);
        break;
    case GW_KIND_BACKEND:
        if (config->backends[n].pool == pool)
            backend_text(config, &config->backends[n], out, size);
        break;
    case GW_KIND_DISCOVER:
        if (config->discover[n].backend.pool == pool)
            discover_text(&config->discover[n], out, size);
        break;
    case GW_KIND_DNS_SERVER:
        snprintf(out, size, "%s", config->dns_servers[n].text);
        break;
    case GW_KIND_PATH:
        snprintf(out, size, "%s", of->paths[n]);
        break;
    case GW_KIND_HOST:
        snprintf(out, size, "%s", of->hosts[n]);
        break;
    case GW_KIND_SOURCE:
        snprintf(out, size, "%s", config->sources[n].text);
        break;
    case GW_KIND_NET:
        if (n < config->trusted_count)
            net_text(&config->trusted[n], out, size);
        else
            snprintf(out, size, "unix");
        break;
    case GW_KIND_ORIGIN:
        snprintf(out, size, "%s", config->origins[n]);
        break;
    default:
        certificate_text(&config->certificates[n], out, size);
        break;
    }
    return true;
}

void gw_option_text(const struct gw_option *option,
                    const struct gw_config *config, size_t pool,
                    char out[GW_VALUE_TEXT_MAX])
{
    const void *field = gw_option_field(option, config, pool);
    const size_t size = GW_VALUE_TEXT_MAX;

    switch ((int)option->kind) {
    case GW_KIND_SWITCH:
        snprintf(out, size, "%s", *(const bool *)field ? "true" : "false");
        break;
    case GW_KIND_COUNT:
        snprintf(out, size, "%llu",
                 (unsigned long long)gw_option_number(option, config, pool));
        break;
    case GW_KIND_SIZE:
    case GW_KIND_TIME:
        gw_quantity_text(option->kind, gw_option_number(option, config, pool),
                         out);
        break;
    case GW_KIND_CHOICE:
        if (!gw_choice_word(option, gw_option_number(option, config, pool),
                            out))
            out[0] = '\0';
        break;
    case GW_KIND_HASH_KEY:
        hash_key_text(field, out, size);
        break;
    case GW_KIND_CANARY:
        canary_text(field, out, size);
        break;
    case GW_KIND_STATUS_RANGE:
        status_text(field, out, size);
        break;
    case GW_KIND_STORE:
        store_url_masked(config->store_url, out, size);
        break;
    case GW_KIND_ADMIN:
        snprintf(out, size, "%s",
                 config->admin.text[0] == '\0' ? "off" : config->admin.text);
        break;
    case GW_KIND_PAIR:
        certificate_text(field, out, size);
        break;
    default:
        snprintf(out, size, "%s", (const char *)field);
        break;
    }
}
