/* SPDX-License-Identifier: MIT */
/* With TEST_TLS=1 everything that goes to a gateway goes over TLS: this is what
 * the clients then need. */
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';
import { createHash, X509Certificate } from 'node:crypto';
import { testCertificates } from '../../support/certificates.mjs';
import { IS_TLS } from '../../support/wire.mjs';

const PATHS = IS_TLS && testCertificates();
const BASE = IS_TLS ? https.Agent : http.Agent;

export { IS_TLS };
export const LISTEN_TLS = IS_TLS ? ',tls' : '';
/* Behind "http" and "ws" in an address. */
export const S = IS_TLS ? 's' : '';
/* Whom to trust, as an option of whatever connects. */
export const TRUST = IS_TLS
  ? { ca: readFileSync(PATHS.authority.certificate, 'utf8') }
  : {};
/* The same for children that use OpenSSL's defaults. */
export const TRUST_ENV = IS_TLS
  ? { SSL_CERT_FILE: PATHS.authority.certificate }
  : {};

export const request = IS_TLS ? https.request : http.request;

export class Agent extends BASE {
  constructor(options) {
    super({ ...TRUST, ...options });
  }
}

/* Each connection leaves from the next of these addresses. */
export class RovingAgent extends Agent {
  #addresses;
  #next = 0;

  constructor(addresses, options = {}) {
    super({ keepAlive: false, ...options });
    this.#addresses = addresses;
  }

  createConnection(options, callback) {
    const { length } = this.#addresses;
    const localAddress = this.#addresses[this.#next++ % length];
    return connect({ ...options, localAddress }, callback);
  }
}

export function connect(options, callback) {
  return IS_TLS
    ? tls.connect({ ...TRUST, ...options }, callback)
    : net.connect(options, callback);
}

/* Flags that have Chromium take exactly the certificate of these gateways. */
export function browserFlags() {
  if (!IS_TLS) return [];
  const pem = readFileSync(PATHS.server.certificate);
  const key = new X509Certificate(pem).publicKey.export({
    type: 'spki',
    format: 'der',
  });
  const hash = createHash('sha256').update(key).digest('base64');
  return [`--ignore-certificate-errors-spki-list=${hash}`];
}
