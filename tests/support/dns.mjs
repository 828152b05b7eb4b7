/* SPDX-License-Identifier: MIT */
/* A small DNS server on loopback, UDP and TCP, for names that a test gives. */

import { randomBytes } from 'node:crypto';
import dgram from 'node:dgram';
import net from 'node:net';

import { eventually } from './wire.mjs';

const TYPES = { A: 1, AAAA: 28, SRV: 33 };
const NAMES = new Map(Object.entries(TYPES).map(([name, n]) => [n, name]));
const HEAD = 12;
const UDP_MAX = 512;
const SERVFAIL = 2;
const NXDOMAIN = 3;
const REFUSED = 5;
const IN = 1;
const TRIES = 20;

const plain = (name) => name.toLowerCase().replace(/\.$/, '');

function u16(...values)
{
    const bytes = Buffer.alloc(values.length * 2);
    values.forEach((value, i) => bytes.writeUInt16BE(value, i * 2));
    return bytes;
}

function nameBytes(name)
{
    const labels = plain(name).split('.').filter((label) => label !== '');
    return Buffer.concat([
        ...labels.flatMap((label) => [Buffer.from([label.length]),
                                      Buffer.from(label, 'latin1')]),
        Buffer.from([0])]);
}

/* Sixteen bytes of an IPv6 address without a dotted part. */
function v6Bytes(address)
{
    const [front, back] = address.split('::')
        .map((half) => half.split(':').filter((group) => group !== ''));
    const groups = back === undefined ? front :
        [...front, ...Array(8 - front.length - back.length).fill('0'), ...back];
    return u16(...groups.map((group) => parseInt(group, 16)));
}

function dataOf(type, record)
{
    if (type === 'A')
        return Buffer.from(record.split('.').map(Number));
    if (type === 'AAAA')
        return v6Bytes(record);
    const { target, port, priority = 0, weight = 0 } = record;
    return Buffer.concat([u16(priority, weight, port), nameBytes(target)]);
}

/* Behind a question whose name begins at byte 12. */
function recordBytes(type, record)
{
    const data = dataOf(type, record);
    return Buffer.concat([u16(0xc000 | HEAD, TYPES[type], IN, 0, 5,
                              data.length), data]);
}

/* {name, type, end} of the question, where `end` is its last byte's next. */
function readQuestion(bytes)
{
    const labels = [];
    let at = HEAD;
    while (bytes[at] > 0 && bytes[at] < 64) {
        labels.push(bytes.toString('latin1', at + 1, at + 1 + bytes[at]));
        at += 1 + bytes[at];
    }
    if (at + 5 > bytes.length)
        return null;
    const number = bytes.readUInt16BE(at + 1);
    return { name: plain(labels.join('.')), type: NAMES.get(number) ?? number,
             end: at + 5 };
}

class Dns {
    constructor()
    {
        this.names = new Map();
        this.modes = new Map();
        this.next = new Map();
        this.questions = [];
    }

    get address()
    {
        return `127.0.0.1:${this.port}`;
    }

    /* `records`: {A: ['127.0.0.1'], AAAA: [...], SRV: [{target, port,
     * priority, weight}]}, instead of those that the name had. A name without
     * any is NXDOMAIN; one that is given none has no data. */
    set(name, records = {})
    {
        this.names.set(plain(name), records);
    }

    remove(name)
    {
        this.names.delete(plain(name));
    }

    /* 'servfail', 'refused', 'nxdomain', 'silent', 'truncated' (over UDP),
     * 'junk' or, for the records, nothing. `type`: for these alone. */
    fail(name, mode, type = '*')
    {
        this.modes.set(`${plain(name)} ${type}`, mode);
    }

    /* So many of the next questions of a type are answered so, no more. */
    failNext(name, mode, type, count)
    {
        this.next.set(`${plain(name)} ${type}`, Array(count).fill(mode));
    }

    #modeOf(name, type)
    {
        return this.next.get(`${name} ${type}`)?.shift() ??
            this.modes.get(`${name} ${type}`) ?? this.modes.get(`${name} *`);
    }

    /* How often a name was asked for. */
    count(name, type)
    {
        return this.questions.filter((q) => q.name === plain(name) &&
            (!type || q.type === type)).length;
    }

    /* Waits for so many further questions. The first of them may have been
     * answered before what was done last. */
    async asked(name, type, more)
    {
        const wanted = this.count(name, type) + more;
        await eventually(() => this.count(name, type) >= wanted,
                         `${more} questions for ${name}`, 20_000);
    }

    #answer(bytes, isTcp)
    {
        const question = readQuestion(bytes);
        if (!question)
            return null;
        const { name, type, end } = question;
        this.questions.push({ name, type, isTcp });
        const mode = this.#modeOf(name, type);
        if (mode === 'silent')
            return null;
        const records = this.names.get(name);
        const found = records?.[type] ?? [];
        const code = { servfail: SERVFAIL, refused: REFUSED,
                       nxdomain: NXDOMAIN }[mode] ?? (records ? 0 : NXDOMAIN);
        const list = code === 0 ? found : [];
        const head = Buffer.concat([bytes.subarray(0, 2), u16(0x8400 | code, 1,
            mode === 'junk' ? 9 : list.length, 0, 0)]);
        const body = mode === 'junk' ? [randomBytes(90)] :
            list.map((record) => recordBytes(type, record));
        const whole = Buffer.concat([head, bytes.subarray(HEAD, end), ...body]);
        if (isTcp || (whole.length <= UDP_MAX && mode !== 'truncated'))
            return whole;
        const cut = whole.subarray(0, Math.min(whole.length, UDP_MAX));
        cut[2] |= 2;
        return cut;
    }

    #serveTcp(socket)
    {
        let rest = Buffer.alloc(0);
        this.sockets.add(socket);
        socket.unref();
        socket.on('close', () => this.sockets.delete(socket));
        socket.on('error', () => socket.destroy());
        socket.on('data', (chunk) => {
            rest = Buffer.concat([rest, chunk]);
            while (rest.length >= 2 &&
                   rest.length >= 2 + rest.readUInt16BE(0)) {
                const size = rest.readUInt16BE(0);
                const answer = this.#answer(rest.subarray(2, 2 + size), true);
                rest = rest.subarray(2 + size);
                if (answer)
                    socket.write(Buffer.concat([u16(answer.length), answer]));
            }
        });
    }

    /* Both on one port, which another may have for the other protocol. */
    async #open()
    {
        this.sockets = new Set();
        this.tcp = net.createServer((socket) => this.#serveTcp(socket));
        this.udp = dgram.createSocket('udp4');
        await new Promise((resolve, reject) => {
            this.tcp.once('error', reject);
            this.tcp.listen(0, '127.0.0.1', resolve);
        });
        this.port = this.tcp.address().port;
        try {
            await new Promise((resolve, reject) => {
                this.udp.once('error', reject);
                this.udp.bind(this.port, '127.0.0.1', resolve);
            });
        } catch (error) {
            this.tcp.close();
            throw error;
        }
        this.tcp.unref();
        this.udp.unref();
        this.udp.on('message', (bytes, from) => {
            const answer = this.#answer(bytes, false);
            if (answer)
                this.udp.send(answer, from.port, from.address);
        });
    }

    async open()
    {
        for (let i = 1; ; i++) {
            try {
                await this.#open();
                return;
            } catch (error) {
                if (error.code !== 'EADDRINUSE' || i === TRIES)
                    throw error;
            }
        }
    }

    async stop()
    {
        for (const socket of this.sockets)
            socket.destroy();
        await new Promise((resolve) => this.udp.close(resolve));
        await new Promise((resolve) => this.tcp.close(resolve));
    }
}

/* Resolves to a running server, with its port and address. */
export async function startDns()
{
    const dns = new Dns();
    await dns.open();
    return dns;
}
