/* SPDX-License-Identifier: MIT */
/* Questions to the operator API, and the token that they carry. */

const TOKEN_KEY = 'sidgate-token';
const TIMEOUT_MS = 10_000;

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status; /* 0: no answer came */
  }
}

/* Storage may be forbidden; then the token lives as long as the page. */
let token = '';
try {
  token = sessionStorage.getItem(TOKEN_KEY) ?? '';
} catch {
  token = '';
}

export const hasToken = () => token !== '';

export function setToken(value) {
  token = value;
  try {
    if (value) sessionStorage.setItem(TOKEN_KEY, value);
    else sessionStorage.removeItem(TOKEN_KEY);
  } catch {
    /* It is kept in memory. */
  }
}

/* Below the folder of the page, wherever a proxy has put it. */
const addressOf = (path) => new URL(`api/v1/${path}`, document.baseURI);

async function bodyOf(response) {
  try {
    return await response.json();
  } catch {
    if (response.ok) throw new ApiError(0, 'the answer is not JSON');
    return {};
  }
}

/* ask('sessions', {limit: 50}) gives the answer's object, or throws an
 * ApiError. Parameters of '' or null are left out. */
export async function ask(path, parameters = {}, method = 'GET') {
  const url = addressOf(path);
  for (const [name, value] of Object.entries(parameters))
    if (value !== '' && value !== null && value !== undefined)
      url.searchParams.set(name, value);
  let response;
  try {
    response = await fetch(url, {
      method,
      cache: 'no-store',
      headers: token ? { Authorization: `Bearer ${token}` } : {},
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch {
    throw new ApiError(0, 'the gateway did not answer');
  }
  const body = await bodyOf(response);
  if (!response.ok)
    throw new ApiError(
      response.status,
      body.error ?? `the gateway answered ${response.status}`,
    );
  return body;
}

export const order = (path, parameters) => ask(path, parameters, 'POST');

/* An id as one part of a path. */
export const part = (id) => encodeURIComponent(id);

function base64url(text) {
  const binary = String.fromCharCode(...new TextEncoder().encode(text));
  return btoa(binary)
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');
}

/* A browser can send no header with a websocket: the token is offered as one
 * more subprotocol. */
export function openLive() {
  const url = addressOf('live');
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const protocols = ['sidgate-live'];
  if (token) protocols.push(`bearer.${base64url(token)}`);
  return new WebSocket(url, protocols);
}
