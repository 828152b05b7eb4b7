/* SPDX-License-Identifier: MIT */
/* How large each scenario is: as a test, and in change-soak.mjs. */

const SMALL = { processes: 2, visitRate: 8 };
const LARGE = { processes: 4, visitRate: 20 };

export const SHORT = {
  nodes: {
    ...SMALL,
    sessions: 120,
    stopMs: 4000,
    slowStartMs: 6000,
    rampRate: 80,
  },
  drain: { ...SMALL, sessions: 120, rate: 20 },
  reload: { ...SMALL, sessions: 60, tunnels: 40, reloads: 20 },
  upgrade: { ...SMALL, tunnels: 100, polling: 40, upgrades: 3 },
  upgradeFails: { ...SMALL, tunnels: 60, polling: 24 },
  upgradeSecure: {
    ...SMALL,
    tunnels: 20,
    polling: 10,
    secure: 20,
    replicas: 0,
  },
  discovery: { ...SMALL, sessions: 60 },
  scale: { ...SMALL, sessions: 60, replicas: 2 },
};

export const LONG = {
  nodes: {
    ...LARGE,
    sessions: 500,
    stopMs: 10_000,
    slowStartMs: 10_000,
    rampRate: 80,
  },
  drain: { ...LARGE, sessions: 300, rate: 20 },
  reload: { ...LARGE, sessions: 300, tunnels: 200, reloads: 100 },
  upgrade: { ...LARGE, tunnels: 1000, polling: 300, upgrades: 10 },
  upgradeFails: { ...LARGE, tunnels: 500, polling: 150, hangs: true },
  upgradeSecure: {
    ...LARGE,
    tunnels: 100,
    polling: 50,
    secure: 100,
    replicas: 0,
  },
  discovery: { ...LARGE, sessions: 200 },
  scale: { ...LARGE, sessions: 250, replicas: 2 },
};
