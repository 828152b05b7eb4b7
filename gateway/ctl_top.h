/* SPDX-License-Identifier: MIT */
/* What `sidgate ctl top` shows, made of three answers. */
#ifndef SIDGATE_GATEWAY_CTL_TOP_H
#define SIDGATE_GATEWAY_CTL_TOP_H

#include "gateway/ctl_frame.h"

#include <stdint.h>

enum { GW_CTL_TOP_BACKENDS = 512, GW_CTL_TOP_ID = 128 };

/* Counters of one backend, some time ago. */
struct gw_ctl_sample {
    char id[GW_CTL_TOP_ID];
    double requests;
    double errors;
    double requests_per_s; /* NAN: not known yet */
    double errors_per_s;
};

struct gw_ctl_samples {
    int64_t at_ms; /* 0: never */
    size_t count;
    struct gw_ctl_sample list[GW_CTL_TOP_BACKENDS];
};

struct gw_ctl_top {
    const cJSON *status;
    const cJSON *backends; /* the list */
    const cJSON *events;   /* the list */
};

/* Takes the counters of the backends, and makes rates of them and the last
 * ones. */
void gw_ctl_top_sample(struct gw_ctl_samples *samples, const cJSON *backends,
                       int64_t now_ms);

/* Fills the frame with what fits on the screen. */
void gw_ctl_top_frame(struct gw_ctl_frame *frame, const struct gw_ctl_top *top,
                      const struct gw_ctl_samples *samples,
                      const struct gw_ctl_screen *screen);

#endif
