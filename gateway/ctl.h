/* SPDX-License-Identifier: MIT */
/* `sidgate ctl`: asks the operator listener of a running gateway. */
#ifndef SIDGATE_GATEWAY_CTL_H
#define SIDGATE_GATEWAY_CTL_H

/* argv[0] is "ctl". Returns what main() does: 0, 1 when the gateway refuses, 2
 * when the command line is wrong or the gateway cannot be asked. */
int gw_ctl(int argc, char **argv);

#endif
