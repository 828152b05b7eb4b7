/* SPDX-License-Identifier: MIT */
/* Numbers, times and the API's words as people read them. */

export const NONE = '–';

const whole = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });

const isNumber = (value) => typeof value === 'number' && isFinite(value);

export function count(value) {
  return isNumber(value) ? whole.format(Math.round(value)) : NONE;
}

/* Enough digits to tell rare from never. */
export function rate(value) {
  if (!isNumber(value)) return NONE;
  return Math.abs(value) >= 1000 ? count(value) : short.format(value);
}

export function milliseconds(value) {
  if (!isNumber(value)) return NONE;
  if (value < 1000) return `${rate(value)} ms`;
  return `${short.format(value / 1000)} s`;
}

/* 1 of 10,000 is not "100 %". */
export function percent(share) {
  if (!isNumber(share)) return NONE;
  const value = share * 100;
  if (value > 99 && value < 100)
    return `${(Math.floor(value * 10) / 10).toFixed(1)} %`;
  return value > 0 && value < 1 ? '< 1 %' : `${Math.round(value)} %`;
}

export function bytes(value) {
  if (!isNumber(value)) return NONE;
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let step = 0;
  while (value >= 1000 && step < units.length - 1) {
    value /= 1000;
    step++;
  }
  return `${step ? short.format(value) : count(value)} ${units[step]}`;
}

export function duration(seconds) {
  if (!isNumber(seconds)) return NONE;
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400)
    return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

const pad = (number) => String(number).padStart(2, '0');

/* In the zone of who looks. */
export function clock(time) {
  const at = new Date(time);
  if (isNaN(at)) return NONE;
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map(pad).join(':');
}

export function date(time) {
  const at = new Date(time);
  if (isNaN(at)) return NONE;
  const day = [at.getFullYear(), at.getMonth() + 1, at.getDate()].map(pad);
  return `${day.join('-')} ${clock(time)}`;
}

export const plural = (number, one, many = `${one}s`) =>
  `${count(number)} ${number === 1 ? one : many}`;

/* Each state: a sign, so that no colour is needed, and how bad it is. */
export const STATES = {
  up: { sign: '✔', kind: 'good' },
  drained: { sign: '‖', kind: 'info' },
  removed: { sign: '−', kind: 'info' },
  unagreed: { sign: '?', kind: 'warn' },
  refused: { sign: '!', kind: 'warn' },
  ejected: { sign: '✖', kind: 'bad' },
  down: { sign: '✖', kind: 'bad' },
};

export const stateOf = (word) => STATES[word] ?? { sign: '?', kind: 'warn' };

export const SIGNS = { good: '✔', info: 'ℹ', warn: '!', bad: '✖' };

/* Why a session ended. */
export const CAUSES = {
  client: 'the client closed it',
  backend: 'the node closed it',
  denied: 'the node did not know it any more',
  unreachable: 'the node could not be reached',
  expired: 'nothing came from the client in time',
  kicked: 'an operator ended it',
  drained: 'closed to empty a drained node',
  shutdown: 'the gateway was stopped',
  limit: 'a limit was hit or its data were wrong',
  replaced: 'its id belongs to another session now',
};

/* Why an upgrade failed, behind "most by". */
export const UPGRADE_FAULTS = {
  refused: 'an answer other than 101',
  unreachable: 'a node that could not be reached',
  stripped: 'stripped Upgrade header',
  probe: 'a probe that never finished',
  closed: 'a websocket closed at once',
};
