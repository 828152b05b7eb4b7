/* SPDX-License-Identifier: MIT */
/*
 * The sessions of drained and of removed backends are closed at a set pace,
 * or all at a deadline. The control thread gives credit, ten times a second;
 * each worker closes as many of its sessions as it gets of that.
 */
#ifndef SIDGATE_GATEWAY_DRAIN_H
#define SIDGATE_GATEWAY_DRAIN_H

struct gw_control;
struct gw_worker;

/* Takes what the shared store says of drains, and gives credit. The control
 * thread, every 100 ms. */
void gw_drain_tick(struct gw_control *control);

/* Closes what there is credit for. Each worker, every 100 ms. */
void gw_drain_step(struct gw_worker *worker);

#endif
