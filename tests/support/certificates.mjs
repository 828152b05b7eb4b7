/* SPDX-License-Identifier: MIT */
/* Authorities and certificates for tests, made by the openssl command in a
 * folder that goes with the process. */

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync }
    from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const KEYS = {
    ecdsa: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'],
    rsa: ['-newkey', 'rsa:2048'],
};
const DAY_MS = 86_400_000;

let folder;
let count = 0;

/* The folder of this process' files. */
export function certificateFolder()
{
    if (!folder) {
        folder = mkdtempSync(path.join(tmpdir(), 'sidgate-tls-'));
        process.on('exit', () => rmSync(folder, { recursive: true,
                                                  force: true }));
    }
    return folder;
}

function openssl(...args)
{
    return execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'],
                                           timeout: 60_000 });
}

/* A folder of its own within that one, with a configuration for openssl. */
function place(name, config)
{
    const home = path.join(certificateFolder(), `${++count}-${name}`);
    mkdirSync(home);
    const file = (rest) => path.join(home, rest);
    writeFileSync(file('config'), config(file));
    return file;
}

const DISTINGUISHED = '[req]\ndistinguished_name = dn\nprompt = no\n' +
    'string_mask = utf8only\n';

/* One that signs: {certificate, key, file(name)}; `certificate` is what its
 * peers must be told to believe. */
export function makeAuthority({ name = 'Test authority', key = 'ecdsa' } = {})
{
    const file = place('authority', (own) => `${DISTINGUISHED}` +
        `x509_extensions = ext\n[dn]\nCN = ${name}\n` +
        '[ext]\nbasicConstraints = critical, CA:TRUE\n' +
        'keyUsage = critical, keyCertSign, cRLSign\n' +
        'subjectKeyIdentifier = hash\n' +
        `[ca]\ndefault_ca = own\n[own]\nnew_certs_dir = ${own('')}\n` +
        `database = ${own('index')}\nserial = ${own('serial')}\n` +
        'default_md = sha256\npolicy = any\nunique_subject = no\n' +
        '[any]\ncommonName = supplied\n');
    writeFileSync(file('index'), '');
    writeFileSync(file('serial'), '1000\n');
    openssl('req', '-x509', '-new', '-nodes', '-sha256', '-days', '3650',
            '-config', file('config'), ...KEYS[key], '-keyout',
            file('key.pem'), '-out', file('certificate.pem'));
    return { certificate: file('certificate.pem'), key: file('key.pem'), file };
}

/* As openssl wants it: YYYYMMDDHHMMSSZ. */
function moment(ms)
{
    return `${new Date(ms).toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`;
}

/*
 * One that `authority` has signed, for these DNS names and IP addresses.
 * key: ecdsa or rsa; client: for a client; peer: for both ends; from and until:
 * ms from now within which it is valid. Gives the files' names: {certificate,
 * key, pem}, where `pem` has both, the authority's certificate between them if
 * `chain` says so.
 */
export function makeCertificate(authority, {
    names = ['localhost'], ips = ['127.0.0.1', '::1'], key = 'ecdsa',
    client = false, peer = false, from = -DAY_MS, until = 30 * DAY_MS,
    chain = false,
} = {})
{
    const uses = [...(peer || !client ? ['serverAuth'] : []),
                  ...(peer || client ? ['clientAuth'] : [])];
    const alternative = [...names.map((one) => `DNS:${one}`),
                         ...ips.map((one) => `IP:${one}`)].join(',');
    const file = place('leaf', () => `${DISTINGUISHED}[dn]\n` +
        `CN = ${names[0] ?? ips[0]}\n[ext]\nbasicConstraints = CA:FALSE\n` +
        'keyUsage = critical, digitalSignature\n' +
        `extendedKeyUsage = ${uses.join(',')}\n` +
        (alternative ? `subjectAltName = ${alternative}\n` : ''));
    openssl('req', '-new', '-nodes', '-sha256', '-config', file('config'),
            ...KEYS[key], '-keyout', file('key.pem'), '-out',
            file('request.pem'));
    openssl('ca', '-batch', '-notext', '-config', authority.file('config'),
            '-cert', authority.certificate, '-keyfile', authority.key,
            '-extfile', file('config'), '-extensions', 'ext', '-startdate',
            moment(Date.now() + from), '-enddate', moment(Date.now() + until),
            '-in', file('request.pem'), '-out', file('certificate.pem'));
    const parts = [file('certificate.pem'),
                   ...(chain ? [authority.certificate] : []), file('key.pem')];
    writeFileSync(file('both.pem'),
                  parts.map((part) => readFileSync(part, 'utf8')).join(''),
                  { mode: 0o600 });
    return { certificate: file('certificate.pem'), key: file('key.pem'),
             pem: file('both.pem') };
}

/* One that was valid until yesterday. */
export function makeExpired(authority, options = {})
{
    return makeCertificate(authority, { ...options, from: -3 * DAY_MS,
                                        until: -DAY_MS });
}

/* A certificate for a client called `name`. */
export function makeClient(authority, name = 'client')
{
    return makeCertificate(authority, { names: [name], ips: [],
                                        client: true });
}

let own;

/* What the listeners of this process' gateways show, made once:
 * {authority, server}. */
export function testCertificates()
{
    if (!own) {
        const authority = makeAuthority();
        own = { authority, server: makeCertificate(authority) };
    }
    return own;
}
