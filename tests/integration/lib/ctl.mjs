/* SPDX-License-Identifier: MIT */
/* The operator's command line. */
import { spawnGateway } from '../../support/gateway.mjs';

/* `sidgate ctl` at this gateway; gives what it printed, or throws with it. */
export async function ctl(gateway, ...words) {
  const { code, stdout, stderr } = await tryCtl(gateway, ...words);
  if (code !== 0)
    throw new Error(`ctl ${words.join(' ')} ended with ${code}: ${stderr}`);
  return stdout;
}

export async function tryCtl(gateway, ...words) {
  const run = spawnGateway([
    'ctl',
    '--admin',
    `127.0.0.1:${gateway.adminPort}`,
    ...words,
  ]);
  const { code } = await run.exited;
  return { code, stdout: run.stdout(), stderr: run.stderr() };
}
