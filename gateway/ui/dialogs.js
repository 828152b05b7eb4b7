/* SPDX-License-Identifier: MIT */
/* The confirmation of what cannot be taken back, and of drains. */
import { byId, setAttribute, setHidden, setText } from './dom.js';

const dialog = byId('confirm');
const form = byId('confirm-form');
const fault = byId('confirm-fault');
const fields = byId('drain-fields');
let act = null;
let isBusy = false;

export const isAnyOpen = () => document.querySelector('dialog[open]') !== null;

/* The button that closes a dialog. It is always there. */
export const closerOf = (one) => one.querySelector('[data-closes]');

/*
 * Calls forget() once `one` is closed. The event may come when it is open
 * again already, for something else. What had the focus before may be gone by
 * now: then heir() gets it.
 */
export function onClosed(one, forget, heir) {
  one.addEventListener('close', () => {
    if (one.open) return;
    forget();
    const { activeElement: at } = document;
    if (at === null || at === document.body || one.contains(at))
      heir().focus();
  });
}

/*
 * Asks; when the answer is yes, carry(values) is waited for: what it throws is
 * shown and can be tried again. values: {rate, timeout} where hasFields.
 */
export function confirm({ title, text, yes, hasFields = false, carry }) {
  act = carry;
  setText(byId('confirm-title'), title);
  setText(byId('confirm-text'), text);
  setText(byId('confirm-yes'), yes);
  setHidden(fields, !hasFields);
  form.reset();
  showFault('');
  setBusy(false);
  dialog.showModal();
}

/* A button that is disabled loses the focus: it only says that it is. */
function setBusy(is) {
  isBusy = is;
  setAttribute(byId('confirm-yes'), 'aria-disabled', is ? 'true' : null);
}

/* The focus goes to the fault, so that it is read out. */
function showFault(text) {
  setText(fault, text);
  setHidden(fault, text === '');
  if (text) fault.focus();
}

/* Seconds from "90", "90s", "10m" or "1h". */
export function secondsOf(text) {
  const match = /^(\d{1,6}) *(s|m|min|h|)$/.exec(text.trim().toLowerCase());
  if (!match) return null;
  const unit = { s: 1, m: 60, min: 60, h: 3600, '': 1 }[match[2]];
  return Number(match[1]) * unit;
}

function drainFields() {
  const rate = byId('drain-rate').value.trim();
  const timeout = byId('drain-timeout').value.trim();
  if (rate && !/^\d{1,6}$/.test(rate))
    throw new Error('The rate is a whole number of sessions a second');
  const seconds = timeout ? secondsOf(timeout) : '';
  if (seconds === null || seconds > 86_400)
    throw new Error('The time is like 90s, 10m or 1h, at most 24h');
  return { rate, timeout: seconds === '' ? '' : `${seconds}s` };
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  if (isBusy) return;
  const mine = act;
  setBusy(true);
  try {
    await mine(fields.hidden ? {} : drainFields());
    if (act === mine) dialog.close();
  } catch (error) {
    if (act === mine) showFault(error.message);
  }
  if (act === mine) setBusy(false);
});

onClosed(
  dialog,
  () => (act = null),
  () => {
    const below = document.querySelector('dialog[open]');
    return below ? closerOf(below) : byId('nodes-title');
  },
);

for (const button of document.querySelectorAll('[data-closes]'))
  button.addEventListener('click', () => button.closest('dialog').close());

/* A press beside a dialog closes it, as Esc does. */
for (const one of document.querySelectorAll('dialog'))
  one.addEventListener('pointerdown', (event) => {
    if (event.target !== one) return;
    const box = one.getBoundingClientRect();
    const isInside =
      event.clientX >= box.left &&
      event.clientX <= box.right &&
      event.clientY >= box.top &&
      event.clientY <= box.bottom;
    if (!isInside) one.close();
  });
