/* SPDX-License-Identifier: MIT */
/* Numbers as people read them. */
#include "gateway/ctl_units.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { DAYS_MAX = 9999 };

static const char *const count_units[] = {"", "k", "M", "G", "T", NULL};
static const char *const byte_units[] = {" B",  " kB", " MB", " GB",
                                         " TB", " PB", NULL};

static bool is_known(double value, char *out)
{
    bool is_good = isfinite(value) && value >= 0;

    if (!is_good)
        snprintf(out, GW_CTL_UNIT_MAX, "-");
    return is_good;
}

/* The unit is chosen by what is left after rounding: 999.6 is 1.0k. */
static void scale(double value, const char *const *units, char *out)
{
    const char *more = "";
    size_t i = 0;

    for (; value >= 999.5 && units[i + 1] != NULL; i++)
        value /= 1000;
    if (value >= 9999.5) {
        value = 9999;
        more = ">";
    }
    snprintf(out, GW_CTL_UNIT_MAX, "%s%.*f%s", more, i > 0 && value < 99.95,
             value, units[i]);
}

void gw_ctl_count(double value, char out[GW_CTL_UNIT_MAX])
{
    if (is_known(value, out))
        scale(value, count_units, out);
}

void gw_ctl_rate(double value, char out[GW_CTL_UNIT_MAX])
{
    if (!is_known(value, out))
        return;
    if (value > 0 && value < 9.95)
        snprintf(out, GW_CTL_UNIT_MAX, "%.1f", value < 0.1 ? 0.1 : value);
    else
        scale(value, count_units, out);
}

void gw_ctl_bytes(double value, char out[GW_CTL_UNIT_MAX])
{
    if (is_known(value, out))
        scale(value, byte_units, out);
}

void gw_ctl_seconds(double value, char out[GW_CTL_UNIT_MAX])
{
    if (!is_known(value, out))
        return;
    if (value >= DAYS_MAX * 86400.0) {
        snprintf(out, GW_CTL_UNIT_MAX, ">%dd", DAYS_MAX);
        return;
    }
    long all = (long)(value + 0.5);
    if (value < 9.95)
        snprintf(out, GW_CTL_UNIT_MAX, "%.1fs", value);
    else if (all < 60)
        snprintf(out, GW_CTL_UNIT_MAX, "%lds", all);
    else if (all < 3600)
        snprintf(out, GW_CTL_UNIT_MAX, "%ldm%02lds", all / 60, all % 60);
    else if (all < 86400)
        snprintf(out, GW_CTL_UNIT_MAX, "%ldh%02ldm", all / 3600, all / 60 % 60);
    else
        snprintf(out, GW_CTL_UNIT_MAX, "%ldd%02ldh", all / 86400,
                 all / 3600 % 24);
}

void gw_ctl_ms(double value, char out[GW_CTL_UNIT_MAX])
{
    if (!is_known(value, out))
        return;
    if (value >= 999.5)
        gw_ctl_seconds(value / 1000, out);
    else
        snprintf(out, GW_CTL_UNIT_MAX, "%.*f ms", value < 9.95, value);
}

void gw_ctl_share(double value, char out[GW_CTL_UNIT_MAX])
{
    double percent = value * 100;

    if (!is_known(value, out))
        return;
    if (value > 1)
        snprintf(out, GW_CTL_UNIT_MAX, "-");
    else if (value == 1 || value == 0)
        snprintf(out, GW_CTL_UNIT_MAX, "%.0f %%", percent);
    else
        snprintf(out, GW_CTL_UNIT_MAX, "%.1f %%",
                 percent > 99.9  ? 99.9
                 : percent < 0.1 ? 0.1
                                 : percent);
}
