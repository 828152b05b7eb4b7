/* SPDX-License-Identifier: MIT */
/* `sidgate doctor URL`: is a client's session kept at its server, there? */
#ifndef SIDGATE_GATEWAY_DOCTOR_H
#define SIDGATE_GATEWAY_DOCTOR_H

/* argv[0] is "doctor". Returns what main() does: 0 when all is well there, 1
 * when something is not, 2 when the command line is wrong or nobody answers. */
int gw_doctor(int argc, char **argv);

#endif
