/* SPDX-License-Identifier: MIT */
/* A TLS client by hand: hellos with any offer, and a TLS 1.3 connection whose
 * every record is the test's own choice. It verifies nothing. */

import { createCipheriv, createDecipheriv, createHash, createHmac,
         createPublicKey, diffieHellman, generateKeyPairSync, randomBytes }
    from 'node:crypto';

import { connect } from './wire.mjs';

export const ALERT = 21;
export const HANDSHAKE = 22;
export const DATA = 23;
const CHANGE_CIPHER = 20;
const FINISHED = 20;
const KEY_UPDATE = 24;
const TAG_LEN = 16;
const SPKI_START = Buffer.from('302a300506032b656e032100', 'hex');
const EMPTY = Buffer.alloc(0);

function number(value, size)
{
    const out = Buffer.alloc(size);
    out.writeUIntBE(value, 0, size);
    return out;
}

/* A vector with its length before it, in `size` bytes. */
function vector(size, ...parts)
{
    const bytes = Buffer.concat(parts);
    return Buffer.concat([number(bytes.length, size), bytes]);
}

function extension(type, ...parts)
{
    return Buffer.concat([number(type, 2), vector(2, ...parts)]);
}

function message(type, ...parts)
{
    return Buffer.concat([number(type, 1), vector(3, ...parts)]);
}

export function record(type, bytes, version = 0x0303)
{
    return Buffer.concat([number(type, 1), number(version, 2),
                          vector(2, bytes)]);
}

/* version: that of the hello; share: a public key, with which TLS 1.3 is
 * offered; protocols: for ALPN. */
export function clientHello({ version = 0x0303, ciphers, share, protocols,
                              compressions = [0], more = [] } = {})
{
    const list = [
        extension(0x000a, vector(2, number(0x001d, 2), number(0x0017, 2))),
        extension(0x000b, vector(1, number(0, 1))),
        extension(0x000d, vector(2, ...[0x0403, 0x0804, 0x0401].map(
            (one) => number(one, 2)))),
        ...more,
    ];
    if (protocols)
        list.push(extension(0x0010, vector(2, ...protocols.map(
            (one) => vector(1, Buffer.from(one))))));
    if (share) {
        list.push(extension(0x002b, vector(1, number(0x0304, 2))));
        list.push(extension(0x0033, vector(2, number(0x001d, 2),
                                           vector(2, share))));
    }
    return message(1, number(version, 2), randomBytes(32), vector(1, EMPTY),
                   vector(2, ...ciphers.map((one) => number(one, 2))),
                   vector(1, ...compressions.map((one) => number(one, 1))),
                   vector(2, ...list));
}

/* ---- the key schedule of TLS 1.3, with SHA-256 ---- */

const sha256 = (bytes) => createHash('sha256').update(bytes).digest();
const hmac = (key, bytes) => createHmac('sha256', key).update(bytes).digest();

/* At most 32 bytes, so one round of the expansion. */
function expand(secret, label, context, length)
{
    const info = Buffer.concat([number(length, 2),
                                vector(1, Buffer.from(`tls13 ${label}`)),
                                vector(1, context), Buffer.of(1)]);
    return hmac(secret, info).subarray(0, length);
}

/* One direction's keys. */
class Keys
{
    constructor(secret)
    {
        this.secret = secret;
        this.key = expand(secret, 'key', EMPTY, 16);
        this.iv = expand(secret, 'iv', EMPTY, 12);
        this.count = 0;
    }

    #nonce()
    {
        const nonce = Buffer.from(this.iv);
        nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ this.count++) >>> 0, 8);
        return nonce;
    }

    seal(type, bytes)
    {
        const inner = Buffer.concat([bytes, number(type, 1)]);
        const head = Buffer.concat([Buffer.of(DATA, 3, 3),
                                    number(inner.length + TAG_LEN, 2)]);
        const cipher = createCipheriv('aes-128-gcm', this.key, this.#nonce());
        cipher.setAAD(head);
        return Buffer.concat([head, cipher.update(inner), cipher.final(),
                              cipher.getAuthTag()]);
    }

    open(head, bytes)
    {
        const end = bytes.length - TAG_LEN;
        const cipher = createDecipheriv('aes-128-gcm', this.key,
                                        this.#nonce());
        cipher.setAAD(head).setAuthTag(bytes.subarray(end));
        const inner = Buffer.concat([cipher.update(bytes.subarray(0, end)),
                                     cipher.final()]);
        let last = inner.length - 1;
        while (inner[last] === 0)
            last--;
        return { type: inner[last], bytes: inner.subarray(0, last) };
    }

    next()
    {
        return new Keys(expand(this.secret, 'traffic upd', EMPTY, 32));
    }
}

export class RawTls
{
    constructor(wire)
    {
        this.wire = wire;
        this.pair = generateKeyPairSync('x25519');
        this.transcript = EMPTY;
        this.early = EMPTY; /* handshake bytes that are no whole message yet */
        this.data = EMPTY;  /* decrypted and not yet taken */
        this.updates = 0;   /* that the server made of its keys */
    }

    hello(more = {})
    {
        const der = this.pair.publicKey.export({ type: 'spki', format: 'der' });
        const bytes = clientHello({ ciphers: [0x1301], more: [],
                                    share: der.subarray(SPKI_START.length),
                                    ...more });
        this.transcript = bytes;
        return record(HANDSHAKE, bytes, 0x0301);
    }

    /* The next record: {type, bytes}, decrypted once there are keys. */
    async record(ms)
    {
        const { wire } = this;
        const size = await wire.until(() => wire.buffer.length >= 5 &&
            wire.buffer.readUInt16BE(3) + 5 <= wire.buffer.length &&
            wire.buffer.readUInt16BE(3) + 5, 'a record', ms);
        const bytes = wire.take(size);
        if (bytes[0] !== DATA || !this.read)
            return { type: bytes[0], bytes: bytes.subarray(5) };
        return this.read.open(bytes.subarray(0, 5), bytes.subarray(5));
    }

    async #message(ms)
    {
        for (;;) {
            const { early } = this;
            const size = early.length >= 4 && early.readUIntBE(1, 3) + 4;
            if (size && early.length >= size) {
                this.early = early.subarray(size);
                this.transcript = Buffer.concat([this.transcript,
                                                 early.subarray(0, size)]);
                return early.subarray(0, size);
            }
            const { type, bytes } = await this.record(ms);
            if (type === HANDSHAKE)
                this.early = Buffer.concat([early, bytes]);
            else if (type !== CHANGE_CIPHER)
                throw new Error(`record of type ${type}: ` +
                                bytes.toString('hex'));
        }
    }

    #derive(secret, label)
    {
        return expand(secret, label, sha256(this.transcript), 32);
    }

    /* The server's key share is the 32 bytes behind the extension's head. */
    #shared(hello)
    {
        const at = hello.indexOf(Buffer.from('00330024001d0020', 'hex')) + 8;
        const publicKey = createPublicKey({
            key: Buffer.concat([SPKI_START, hello.subarray(at, at + 32)]),
            format: 'der', type: 'spki',
        });
        return diffieHellman({ privateKey: this.pair.privateKey, publicKey });
    }

    /* From the server's hello on. */
    async finish(ms)
    {
        const none = sha256(EMPTY);
        const zero = Buffer.alloc(32);
        const hello = await this.#message(ms);
        const first = expand(hmac(zero, zero), 'derived', none, 32);
        const secret = hmac(first, this.#shared(hello));
        const write = new Keys(this.#derive(secret, 'c hs traffic'));
        this.read = new Keys(this.#derive(secret, 's hs traffic'));
        while ((await this.#message(ms))[0] !== FINISHED);
        const main = hmac(expand(secret, 'derived', none, 32), zero);
        const verify = hmac(expand(write.secret, 'finished', EMPTY, 32),
                            sha256(this.transcript));
        this.write = new Keys(this.#derive(main, 'c ap traffic'));
        this.read = new Keys(this.#derive(main, 's ap traffic'));
        this.wire.send(write.seal(HANDSHAKE, message(FINISHED, verify)));
        return this;
    }

    seal(bytes, type = DATA)
    {
        return this.write.seal(type, Buffer.from(bytes));
    }

    send(bytes, type = DATA)
    {
        this.wire.send(this.seal(bytes, type));
        return this;
    }

    /* A change of our keys; `asks` for one of the server's too. */
    update(asks)
    {
        const bytes = this.seal(message(KEY_UPDATE, Buffer.of(asks ? 1 : 0)),
                                HANDSHAKE);
        this.write = this.write.next();
        return bytes;
    }

    /* The next `count` bytes of data; alerts are errors. */
    async bytes(count, ms)
    {
        while (this.data.length < count) {
            const { type, bytes } = await this.record(ms);
            if (type === DATA)
                this.data = Buffer.concat([this.data, bytes]);
            else if (type === HANDSHAKE && bytes[0] === KEY_UPDATE)
                this.#updated();
            else if (type === ALERT)
                throw new Error(`alert ${bytes[1]}`);
        }
        const taken = this.data.subarray(0, count);
        this.data = this.data.subarray(count);
        return taken;
    }

    #updated()
    {
        this.read = this.read.next();
        this.updates++;
    }

    async head(ms)
    {
        let text = '';
        while (!text.endsWith('\r\n\r\n'))
            text += (await this.bytes(1, ms)).toString('latin1');
        return text;
    }

    /* A whole response with a Content-Length, as text. */
    async response(ms)
    {
        const text = await this.head(ms);
        const length = Number(/content-length: (\d+)/i.exec(text)[1]);
        return text + (await this.bytes(length, ms)).toString('latin1');
    }
}

export async function openRaw(port, more)
{
    return new RawTls(await connect(port, { ...more, secure: false }));
}

/* The same with its handshake done. */
export async function openRawTls(port, more)
{
    const raw = await openRaw(port, more);
    raw.wire.send(raw.hello());
    return raw.finish();
}
