/* SPDX-License-Identifier: MIT */
/* The option table as help, as manual page and as configuration file. */
#include "gateway/options_parse.h"

#include <netinet/in.h>
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
        fprintf(out, "  --%s %s\n", option->name, option->argument);
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

static void backend_text(const struct gw_backend_config *backend, char *out,
                         size_t size)
{
    bool has_id = strcmp(backend->id, backend->address.text) != 0;
    char host[GW_ADDRESS_MAX];
    bool has_name;
    char weight[24] = "";

    gw_address_host(&backend->address, host);
    has_name = backend->is_tls && strcmp(backend->tls_name, host) != 0;
    if (backend->weight != 1)
        snprintf(weight, sizeof(weight), ",weight=%u", backend->weight);
    snprintf(out, size, "%s%s%s%s%s%s%s%s", has_id ? backend->id : "",
             has_id ? "=" : "", backend->address.text, weight,
             backend->is_tls ? ",tls" : "", has_name ? ",name=" : "",
             has_name ? backend->tls_name : "",
             backend->is_unverified ? ",verify=off" : "");
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

/* The n-th value of a list as text; false past the last. */
static bool list_value(const struct gw_option *option,
                       const struct gw_config *config, size_t n,
                       char out[GW_OPTION_TEXT_MAX])
{
    const size_t size = GW_OPTION_TEXT_MAX;
    size_t count = gw_option_length(option, config);

    if (n >= count)
        return false;
    switch ((int)option->kind) {
    case GW_KIND_LISTEN:
        listen_text(&config->listen[n], out, size);
        break;
    case GW_KIND_BACKEND:
        backend_text(&config->backends[n], out, size);
        break;
    case GW_KIND_PATH:
        snprintf(out, size, "%s", config->paths[n]);
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

static void print_list(FILE *out, const struct gw_option *option,
                       const struct gw_config *config)
{
    char text[GW_OPTION_TEXT_MAX];
    size_t n = 0;

    fputc('[', out);
    for (; list_value(option, config, n, text); n++) {
        fputs(n == 0 ? "\n    " : ",\n    ", out);
        print_string(out, text);
    }
    fputs(n == 0 ? "]" : "\n  ]", out);
}

static void print_scalar(FILE *out, const struct gw_option *option,
                         const struct gw_config *config)
{
    char text[sizeof(config->store_url) + 4]; /* the mask may be longer */
    const void *field = (const char *)config + option->offset;

    switch ((int)option->kind) {
    case GW_KIND_SWITCH:
        fputs(*(const bool *)field ? "true" : "false", out);
        return;
    case GW_KIND_COUNT:
        fprintf(out, "%llu",
                (unsigned long long)gw_option_number(option, config));
        return;
    case GW_KIND_SIZE:
    case GW_KIND_TIME:
        gw_quantity_text(option->kind, gw_option_number(option, config), text);
        break;
    case GW_KIND_CHOICE:
        if (!gw_choice_word(option, gw_option_number(option, config), text))
            text[0] = '\0';
        break;
    case GW_KIND_STORE:
        store_url_masked(config->store_url, text, sizeof(text));
        break;
    case GW_KIND_ADMIN:
        snprintf(text, sizeof(text), "%s",
                 config->admin.text[0] == '\0' ? "off" : config->admin.text);
        break;
    case GW_KIND_PAIR:
        certificate_text(field, text, sizeof(text));
        break;
    default:
        snprintf(text, sizeof(text), "%s", (const char *)field);
        break;
    }
    print_string(out, text);
}

void gw_options_print(const struct gw_config *config, FILE *out)
{
    const char *separator = "{\n  ";

    for (size_t i = 0; i < gw_option_count; i++) {
        const struct gw_option *option = &gw_option_table[i];

        if (option->kind == GW_KIND_GROUP || option->kind == GW_KIND_CONFIG ||
            option->kind == GW_KIND_ACTION)
            continue;
        fputs(separator, out);
        separator = ",\n  ";
        fputc('"', out);
        for (const char *at = option->name; *at != '\0'; at++)
            fputc(*at == '-' ? '_' : *at, out);
        fputs("\": ", out);
        if (gw_option_repeats(option))
            print_list(out, option, config);
        else
            print_scalar(out, option, config);
    }
    fputs("\n}\n", out);
}
