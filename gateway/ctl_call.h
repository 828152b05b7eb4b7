/* SPDX-License-Identifier: MIT */
/* One run of `sidgate ctl`: what was asked for, and how it is carried out. */
#ifndef SIDGATE_GATEWAY_CTL_CALL_H
#define SIDGATE_GATEWAY_CTL_CALL_H

#include "eio/sid.h"
#include "gateway/ctl_client.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum {
    GW_CTL_REFUSED = 1, /* codes to exit with */
    GW_CTL_UNASKED = 2, /* wrong command line, or nobody to ask */
    GW_CTL_PATH_MAX = 8192,
};

enum gw_ctl_flag {
    GW_CTL_ADMIN,
    GW_CTL_TOKEN_FILE,
    GW_CTL_CONFIG,
    GW_CTL_JSON,
    GW_CTL_HELP,
    GW_CTL_OWN, /* those from here on are of some commands alone */
    GW_CTL_RATE = GW_CTL_OWN,
    GW_CTL_TIMEOUT,
    GW_CTL_POOL,
    GW_CTL_BACKEND,
    GW_CTL_CLIENT,
    GW_CTL_TRANSPORT,
    GW_CTL_GATEWAY,
    GW_CTL_SEARCH,
    GW_CTL_ENDED,
    GW_CTL_LIMIT,
    GW_CTL_ALL,
    GW_CTL_FOLLOW,
    GW_CTL_LEVEL,
    GW_CTL_ONCE,
    GW_CTL_INTERVAL,
    GW_CTL_FLAG_COUNT,
};

#define GW_CTL_HAS(flag) (1U << (flag))

struct gw_ctl_flag_name {
    const char *name;
    const char *value; /* as help calls it; NULL: it has none */
};

extern const struct gw_ctl_flag_name gw_ctl_flags[GW_CTL_FLAG_COUNT];

struct gw_ctl_call;

/* Asks, and prints what came of it; the code to exit with. */
typedef int (*gw_ctl_run_fn)(struct gw_ctl_call *call);

struct gw_ctl_command {
    const char *name;
    const char *operand;      /* as help calls it; NULL: none */
    bool is_operand_optional; /* and the request a GET without it */
    bool is_operand_secret;   /* "-" has it read from standard input */
    bool is_post;
    unsigned flags;     /* its own, as bits */
    const char *prefix; /* of the path, before the operand */
    const char *suffix;
    const char *done; /* printed behind the operand */
    gw_ctl_run_fn run;
    const char *help;
};

extern const struct gw_ctl_command gw_ctl_commands[];
extern const size_t gw_ctl_command_count;

struct gw_ctl_call {
    const struct gw_ctl_command *command;
    const char *operand;
    const char *values[GW_CTL_FLAG_COUNT]; /* NULL: not given; "": no value */
    struct gw_ctl_target target;
    struct gw_ctl_answer answer; /* the last one */
    char error[GW_OPTIONS_ERROR_MAX];
    char secret[EIO_SID_MAX + 2]; /* the operand, where it was read */
};

/* The command line. argv[0] is passed over. False with the reason in
 * call->error. */
bool gw_ctl_read_line(struct gw_ctl_call *call, int argc, char **argv);

/* A whole number of 1 to `max` that a flag has; `*out` stays as it is without
 * the flag. False with the reason in call->error. */
bool gw_ctl_read_count(struct gw_ctl_call *call, enum gw_ctl_flag flag,
                       long max, long *out);

/* Says why on standard error; returns `code`. */
int gw_ctl_fail(const char *text, int code);

/* Appends to a path of GW_CTL_PATH_MAX bytes; a value is percent-encoded, and
 * nothing is appended for one that is NULL. False when it does not fit. */
bool gw_ctl_path_add(char *path, const char *text, bool is_value);
bool gw_ctl_path_set(char *path, const char *name, const char *value);

/* Asks, and parses what came. 0 with the JSON in `*root`, which the caller
 * deletes, or else the code to exit with, the reason in call->error, and no
 * JSON. The bytes are in call->answer until the next question. */
int gw_ctl_try(struct gw_ctl_call *call, bool is_post, const char *path,
               cJSON **root);

/* As gw_ctl_try, but says why on standard error. With --json a refusal goes to
 * standard output, too. */
int gw_ctl_fetch(struct gw_ctl_call *call, bool is_post, const char *path,
                 cJSON **root);

/* The last answer as it came, for programs. */
void gw_ctl_print_answer(const struct gw_ctl_call *call);

static inline bool gw_ctl_is_given(const struct gw_ctl_call *call,
                                   enum gw_ctl_flag flag)
{
    return call->values[flag] != NULL;
}

/* The commands */
int gw_ctl_run_plain(struct gw_ctl_call *call);
int gw_ctl_run_config(struct gw_ctl_call *call);
int gw_ctl_run_log_level(struct gw_ctl_call *call);
int gw_ctl_run_upgrade(struct gw_ctl_call *call);
int gw_ctl_run_status(struct gw_ctl_call *call);
int gw_ctl_run_backends(struct gw_ctl_call *call);
int gw_ctl_run_replicas(struct gw_ctl_call *call);
int gw_ctl_run_sessions(struct gw_ctl_call *call);
int gw_ctl_run_session(struct gw_ctl_call *call);
int gw_ctl_run_kick(struct gw_ctl_call *call);
int gw_ctl_run_events(struct gw_ctl_call *call);
int gw_ctl_run_top(struct gw_ctl_call *call);

#endif
