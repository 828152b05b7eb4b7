/* SPDX-License-Identifier: MIT */
/* Numbers as people read them. */
#include "gateway/ctl_units.h"

#include <criterion/criterion.h>
#include <math.h>

struct sample {
    double value;
    const char *text;
};

static void check(void (*put)(double value, char *out),
                  const struct sample *samples)
{
    char out[GW_CTL_UNIT_MAX];

    for (; samples->text != NULL; samples++) {
        put(samples->value, out);
        cr_expect_str_eq(out, samples->text, "%g is %s, not %s", samples->value,
                         out, samples->text);
    }
}

/* What no number says is the same everywhere. */
Test(ctl_units, unknown)
{
    static void (*const all[])(double, char *) = {
        gw_ctl_count,   gw_ctl_rate, gw_ctl_bytes,
        gw_ctl_seconds, gw_ctl_ms,   gw_ctl_share,
    };
    static const struct sample samples[] = {
        {NAN, "-"}, {INFINITY, "-"}, {-INFINITY, "-"}, {-1, "-"}, {0, NULL}};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        check(all[i], samples);
}

Test(ctl_units, count)
{
    static const struct sample samples[] = {
        {0, "0"},        {1, "1"},          {999, "999"},     {999.4, "999"},
        {999.6, "1.0k"}, {1000, "1.0k"},    {1234, "1.2k"},   {99940, "99.9k"},
        {99960, "100k"}, {999499, "999k"},  {999500, "1.0M"}, {1.5e9, "1.5G"},
        {5e15, "5000T"}, {1e300, ">9999T"}, {0, NULL},
    };

    check(gw_ctl_count, samples);
}

Test(ctl_units, rate)
{
    static const struct sample samples[] = {
        {0, "0"},     {0.001, "0.1"}, {0.44, "0.4"},  {9.94, "9.9"},
        {9.96, "10"}, {123.4, "123"}, {3456, "3.5k"}, {0, NULL},
    };

    check(gw_ctl_rate, samples);
}

Test(ctl_units, bytes)
{
    static const struct sample samples[] = {
        {0, "0 B"},          {512, "512 B"},     {1000, "1.0 kB"},
        {3400000, "3.4 MB"}, {2.5e12, "2.5 TB"}, {1e18, "1000 PB"},
        {1e300, ">9999 PB"}, {0, NULL},
    };

    check(gw_ctl_bytes, samples);
}

Test(ctl_units, seconds)
{
    static const struct sample samples[] = {
        {0, "0.0s"},        {9.94, "9.9s"},     {9.96, "10s"},
        {59.4, "59s"},      {59.6, "1m00s"},    {312, "5m12s"},
        {3599.4, "59m59s"}, {3599.6, "1h00m"},  {7500, "2h05m"},
        {86399, "23h59m"},  {86399.6, "1d00h"}, {273600, "3d04h"},
        {1e9, ">9999d"},    {1e300, ">9999d"},  {0, NULL},
    };

    check(gw_ctl_seconds, samples);
}

Test(ctl_units, milliseconds)
{
    static const struct sample samples[] = {
        {0, "0.0 ms"},  {8.34, "8.3 ms"}, {18.9, "19 ms"}, {999.4, "999 ms"},
        {1200, "1.2s"}, {25000, "25s"},   {0, NULL},
    };

    check(gw_ctl_ms, samples);
}

Test(ctl_units, share)
{
    static const struct sample samples[] = {
        {0, "0 %"},      {1, "100 %"},        {0.992, "99.2 %"},
        {0.5, "50.0 %"}, {0.99999, "99.9 %"}, {0.00001, "0.1 %"},
        {1.1, "-"},      {0, NULL},
    };

    check(gw_ctl_share, samples);
}
