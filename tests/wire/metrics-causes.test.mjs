/* SPDX-License-Identifier: MIT */
/* Each metric moves as its text says, by what is meant to move it. */

import { requests } from '../support/causes/requests.mjs';
import { upgrades } from '../support/causes/upgrades.mjs';
import { runRows } from '../support/causes/world.mjs';

runRows('requests', requests);
runRows('upgrades', upgrades);
