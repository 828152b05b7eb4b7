/* SPDX-License-Identifier: MIT */
/* Sessions, what ends them, backends' states, the process: each moves its own
 * metric. */

import { processRows } from '../support/causes/process.mjs';
import { sessions } from '../support/causes/sessions.mjs';
import { runRows } from '../support/causes/world.mjs';

runRows('sessions', sessions);
runRows('the process and its backends', processRows);
