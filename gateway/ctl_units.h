/* SPDX-License-Identifier: MIT */
/* Numbers as people read them. One that is negative, infinite or none at all
 * is "-". */
#ifndef SIDGATE_GATEWAY_CTL_UNITS_H
#define SIDGATE_GATEWAY_CTL_UNITS_H

enum { GW_CTL_UNIT_MAX = 24 };

void gw_ctl_count(double value, char out[GW_CTL_UNIT_MAX]);   /* 1.2k */
void gw_ctl_rate(double value, char out[GW_CTL_UNIT_MAX]);    /* 0.4 */
void gw_ctl_bytes(double value, char out[GW_CTL_UNIT_MAX]);   /* 3.4 MB */
void gw_ctl_seconds(double value, char out[GW_CTL_UNIT_MAX]); /* 5m12s */
void gw_ctl_ms(double value, char out[GW_CTL_UNIT_MAX]);      /* 8.3 ms */

/* Of 0 to 1: 99.2 %. 100 % is all, never nearly all. */
void gw_ctl_share(double value, char out[GW_CTL_UNIT_MAX]);

#endif
