/* SPDX-License-Identifier: MIT */
/* Each limit that is hit is counted under its own name. */

import { limits } from '../support/causes/limits.mjs';
import { runRows } from '../support/causes/world.mjs';

runRows('limits', limits);
