/* SPDX-License-Identifier: MIT */
/* Bounded waiting. */

export function within(promise, ms, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`waited ${ms} ms for ${what}`)),
      ms,
    );
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/* Asks until `condition` holds; `what` may be a function. */
export async function until(condition, ms, what) {
  const end = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > end)
      throw new Error(
        `waited ${ms} ms: ${typeof what === 'function' ? what() : what}`,
      );
    await pause(20);
  }
}

/* Runs `work(item, index)` for all items, at most `width` at once. */
export async function eachOf(items, width, work) {
  const queue = [...items].entries();
  const results = [];
  const worker = async () => {
    for (const [index, item] of queue) results[index] = await work(item, index);
  };
  await Promise.all(Array.from({ length: width }, worker));
  return results;
}
