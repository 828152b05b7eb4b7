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
 * (it resolves names): call it before threads start. */
int gw_options_read(int argc, char **argv, struct gw_config *config,
                    enum gw_action *action, char error[GW_OPTIONS_ERROR_MAX])
    __attribute__((warn_unused_result));

void gw_options_help(FILE *out);
void gw_options_man(FILE *out);

/* The whole effective configuration as JSON that --config reads back. Secrets
 * are not in it: a password in the store's URL is masked, and of the files that
 * hold secrets only the names are told. */
void gw_options_print(const struct gw_config *config, FILE *out);

#endif
