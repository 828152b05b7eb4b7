/* SPDX-License-Identifier: MIT */
/* Lines of text that are shown together, on a terminal again and again. */
#ifndef SIDGATE_GATEWAY_CTL_FRAME_H
#define SIDGATE_GATEWAY_CTL_FRAME_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { GW_CTL_LINE_MAX = 512, GW_CTL_LINES_MAX = 400 };

enum gw_ctl_style {
    GW_CTL_PLAIN,
    GW_CTL_TITLE,
    GW_CTL_GOOD,
    GW_CTL_WARN,
    GW_CTL_BAD,
};

struct gw_ctl_line {
    enum gw_ctl_style style;
    char text[GW_CTL_LINE_MAX];
};

struct gw_ctl_frame {
    size_t count;
    struct gw_ctl_line lines[GW_CTL_LINES_MAX];
};

/* Where it is shown. */
struct gw_ctl_screen {
    size_t columns; /* what does not fit is cut; 0: nothing is */
    size_t rows;    /* 0: as many as there are */
    bool has_escapes;
};

/* Adds a line. What is not visible ASCII or a blank becomes '?'; what does not
 * fit is left out. */
void gw_ctl_frame_add(struct gw_ctl_frame *frame, enum gw_ctl_style style,
                      const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* With escapes it takes the place of what was shown before. */
void gw_ctl_frame_draw(const struct gw_ctl_frame *frame,
                       const struct gw_ctl_screen *screen, FILE *out);

/* The glance at the answer of /api/v1/status. */
void gw_ctl_frame_status(struct gw_ctl_frame *frame, const cJSON *status);

/* One event as a line of a log. */
void gw_ctl_frame_event(struct gw_ctl_frame *frame, const cJSON *event);

#endif
