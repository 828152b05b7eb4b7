/* SPDX-License-Identifier: MIT */
/* What the shared store does is in the metrics. */

import { store } from '../support/causes/store.mjs';
import { runRows } from '../support/causes/world.mjs';

runRows('the shared store', store);
