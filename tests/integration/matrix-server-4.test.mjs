/* SPDX-License-Identifier: MIT */
import { matrix } from './lib/matrix.mjs';

matrix('4');
