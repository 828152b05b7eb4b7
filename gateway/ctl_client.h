/* SPDX-License-Identifier: MIT */
/* The parts of `sidgate ctl`. Not for others. */
#ifndef SIDGATE_GATEWAY_CTL_CLIENT_H
#define SIDGATE_GATEWAY_CTL_CLIENT_H

#include "gateway/config.h"
#include "gateway/options.h"

#include <stdbool.h>
#include <stddef.h>

/* Whom to ask, and with which token. */
struct gw_ctl_target {
    struct gw_address address; /* its text alone */
    char token[STORE_SECRET_MAX];
    int stop_fd; /* readable: give up; -1: none */
};

/* What the command line says of that; NULL where it says nothing. */
struct gw_ctl_given {
    const char *admin;
    const char *token_file;
    const char *config;
};

struct gw_ctl_answer {
    unsigned status;
    char *body; /* malloc'd, with a NUL behind it; the caller frees it */
    size_t len;
};

/* From the command line, else the environment, else the configuration file.
 * False with one line in `error`. */
bool gw_ctl_find_target(const struct gw_ctl_given *given,
                        struct gw_ctl_target *target,
                        char error[GW_OPTIONS_ERROR_MAX]);

/* Whether a question is to be given up. */
bool gw_ctl_is_stopped(const struct gw_ctl_target *target);

/* One request on a connection of its own, within 10 s in all. False with one
 * line in `error` when nobody is there, or what comes is no answer, or it is
 * larger than 4 MiB. */
bool gw_ctl_ask(const struct gw_ctl_target *target, bool is_post,
                const char *path, struct gw_ctl_answer *answer,
                char error[GW_OPTIONS_ERROR_MAX]);

#endif
