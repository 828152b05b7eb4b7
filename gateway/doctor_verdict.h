/* SPDX-License-Identifier: MIT */
/* How findings are put into words. */
#ifndef SIDGATE_GATEWAY_DOCTOR_VERDICT_H
#define SIDGATE_GATEWAY_DOCTOR_VERDICT_H

#include "gateway/doctor_private.h"

struct doctor_findings {
    struct doctor_finding *list; /* DOCTOR_FINDINGS_MAX of them */
    unsigned count;
};

/* Adds one, while there is room; the format says what was seen. */
void doctor_find(struct doctor_findings *out, const struct doctor_words *words,
                 const char *format, ...) __attribute__((format(printf, 3, 4)));

/* doctor_verdict_websocket.c. What is behind those that are there already: why
 * sessions are not found is said once. */
void doctor_judge_websockets(const struct doctor_report *report,
                             struct doctor_findings *out);

#endif
