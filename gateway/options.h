/* SPDX-License-Identifier: MIT */
/*
 * Command line, environment and configuration file, from one table
 * (options.def). Precedence: flag, then environment (SIDGATE_<NAME>), then
 * file, then default. A repeating option given in one source replaces what
 * weaker sources gave.
 */
#ifndef SIDGATE_GATEWAY_OPTIONS_H
#define SIDGATE_GATEWAY_OPTIONS_H

#include "gateway/config.h"

#include <stdio.h>

enum gw_action {
    GW_ACTION_RUN,
    GW_ACTION_CHECK,        /* --check: say "configuration ok" and exit 0 */
    GW_ACTION_PRINT_CONFIG, /* --print-config */
    GW_ACTION_HELP,
    GW_ACTION_VERSION,
    GW_ACTION_MAN_OPTIONS, /* --man-options: the mdoc of the option table */
};

enum { GW_OPTIONS_ERROR_MAX = 512 };

/* Reads everything into `*config` (all of it is written) and checks it whole:
 * values, ranges, duplicates (ids, addresses, paths), names that do not
 * resolve, contradictions. Returns 0, or -1 with one clear line, without
 * newline, in `error`, e.g. "--workers: 0 is not between 1 and 64". Blocking
 * (it resolves names). It keeps nothing and leaves argv as it is: a running
 * process calls it again to reload. */
int gw_options_read(int argc, char **argv, struct gw_config *config,
                    enum gw_action *action, char error[GW_OPTIONS_ERROR_MAX])
    __attribute__((warn_unused_result));

/* One value as of --backend, with its address resolved: what an operator adds
 * to the running process. It is the first pool's; for another one, set `pool`
 * and call gw_options_qualify. Returns 0, or -1 with one line in `error`.
 * Blocking where the host is a name. */
int gw_options_parse_backend(const char *spec, struct gw_backend_config *out,
                             char error[GW_OPTIONS_ERROR_MAX])
    __attribute__((warn_unused_result));

/* Puts the pool's name and '/' before the id, as all have it that are not the
 * first pool's. False, and the id as it was, when that is too long. */
bool gw_options_qualify(const char *pool, char id[GW_BACKEND_ID_MAX]);

/* A time such as 10m, 300s, 250ms or, in ms, 250. */
bool gw_options_parse_time(const char *text, int64_t *ms);

void gw_options_help(FILE *out);
void gw_options_man(FILE *out);

/* The whole effective configuration as JSON that --config reads back. Secrets
 * are not in it: a password in the store's URL is masked, and of the files that
 * hold secrets only the names are told. */
void gw_options_print(const struct gw_config *config, FILE *out);

#endif
