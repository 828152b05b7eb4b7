/* SPDX-License-Identifier: MIT */
/* What the command line asks for. */
#include "gateway/access_log.h"
#include "gateway/control.h"
#include "gateway/ctl.h"
#include "gateway/doctor.h"
#include "gateway/log.h"
#include "gateway/options.h"
#include "gateway/tls.h"

#include <stdio.h>
#include <string.h>

static int fail(const char *error)
{
    fprintf(stderr, "sidgate: %s\n", error);
    return 1;
}

/* What only reading the files can tell. */
static int check(const struct gw_config *config)
{
    struct gw_tls *tls = NULL;
    char error[GW_TLS_ERROR_MAX] = "";
    struct gw_privileges privileges;
    gw_log_setup(config->log_level, config->log_format);
    if (!gw_privileges_find(config->user, &privileges, error) ||
        !gw_access_log_check(config, error) ||
        !gw_tls_new(config, &tls, error)) {
        fail(error);
        return 2;
    }
    gw_tls_free(tls);
    puts("configuration ok");
    return 0;
}

int main(int argc, char **argv)
{
    static struct gw_config config;
    enum gw_action action = GW_ACTION_RUN;
    char error[GW_OPTIONS_ERROR_MAX];
    if (argc > 1 && strcmp(argv[1], "ctl") == 0)
        return gw_ctl(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "doctor") == 0)
        return gw_doctor(argc - 1, argv + 1);
    if (gw_options_read(argc, argv, &config, &action, error) != 0) {
        fprintf(stderr, "sidgate: %s\n", error);
        return 2;
    }
    switch (action) {
    case GW_ACTION_RUN:
        return gw_control_run(&config, argc, argv);
    case GW_ACTION_CHECK:
        return check(&config);
    case GW_ACTION_PRINT_CONFIG:
        gw_options_print(&config, stdout);
        return 0;
    case GW_ACTION_HELP:
        gw_options_help(stdout);
        return 0;
    case GW_ACTION_VERSION:
        puts("sidgate " SIDGATE_VERSION);
        return 0;
    case GW_ACTION_MAN_OPTIONS:
        gw_options_man(stdout);
        return 0;
    }
    return 0;
}
