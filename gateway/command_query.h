/* SPDX-License-Identifier: MIT */
/* The parameters of an operator's request. Not for others. */
#ifndef SIDGATE_GATEWAY_COMMAND_QUERY_H
#define SIDGATE_GATEWAY_COMMAND_QUERY_H

#include "eio/span.h"
#include "gateway/command.h"

/* Which bytes may come out. */
enum gw_decode {
    GW_DECODE_VISIBLE, /* ASCII, so that it can stand in a line of any kind */
    GW_DECODE_TEXT,    /* all but control bytes */
    GW_DECODE_ANY,
};

/* Takes the percent-encoding off. *len is how many bytes `out` has room for,
 * and then how many came; unless any may come, a NUL is put behind them, for
 * which there is room too. False when the encoding is wrong, other bytes come
 * out, or they do not fit. */
bool gw_command_decode(struct eio_span from, enum gw_decode what, char *out,
                       size_t *len);

/* Reads what the verb may have. False with status 400 and one line. */
bool gw_command_read_query(const char *query, struct gw_command *command,
                           struct gw_outcome *outcome);

#endif
