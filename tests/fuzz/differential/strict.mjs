/* SPDX-License-Identifier: MIT */
/* A reader of HTTP/1.1 by RFC 9112, which takes nothing that two programs
 * could read in two ways. It knows nothing of sidgate. */

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const REQUEST_LINE =
    new RegExp(`^(${TOKEN}) ([\\x21\\x22\\x24-\\x7e]+) HTTP/1\\.([01])$`);
const STATUS_LINE =
    /^HTTP\/1\.([01]) ([1-5]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?$/;
const FIELD = new RegExp(
    `^(${TOKEN}):[ \\t]*([\\t\\x20-\\x7e\\x80-\\xff]*?)[ \\t]*$`);
/* White space before the semicolon is what senders must not make (RFC 9112
 * 7.1.1) and sidgate refuses. */
const CHUNK = /^([0-9a-fA-F]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?$/;

export class Malformed extends Error {}
/* More bytes would be needed. */
export class Partial extends Error {}

class Reader {
    constructor(bytes, at)
    {
        this.bytes = bytes;
        this.at = at;
    }

    line()
    {
        const end = this.bytes.indexOf('\n', this.at);
        if (end < 0)
            throw new Partial('line');
        const text = this.bytes.toString('latin1', this.at, end);
        if (!text.endsWith('\r'))
            throw new Malformed('bare LF');
        if (text.indexOf('\r') !== text.length - 1)
            throw new Malformed('bare CR');
        this.at = end + 1;
        return text.slice(0, -1);
    }

    take(count)
    {
        if (this.bytes.length - this.at < count)
            throw new Partial('body');
        const taken = this.bytes.subarray(this.at, this.at + count);
        this.at += count;
        return taken;
    }

    fields()
    {
        const list = [];
        for (;;) {
            const text = this.line();
            if (text === '')
                return list;
            const match = FIELD.exec(text);
            if (!match)
                throw new Malformed(`field ${JSON.stringify(text)}`);
            list.push([match[1].toLowerCase(), match[2]]);
        }
    }

    chunks()
    {
        const list = [];
        for (;;) {
            const match = CHUNK.exec(this.line());
            if (!match)
                throw new Malformed('chunk size');
            const size = parseInt(match[1], 16);
            if (size === 0) {
                this.fields();
                return Buffer.concat(list);
            }
            list.push(this.take(size));
            if (this.line() !== '')
                throw new Malformed('end of a chunk');
        }
    }
}

const all = (fields, name) => fields.filter(([n]) => n === name)
    .map(([, value]) => value);

/* Content-Length as a number, 'chunked', or null where there is neither. */
function framing(fields, minor)
{
    const lengths = all(fields, 'content-length');
    const codings = all(fields, 'transfer-encoding');
    if (lengths.length + codings.length > 1)
        throw new Malformed('two framings');
    if (codings.length > 0) {
        if (minor === 0 || codings[0].toLowerCase() !== 'chunked')
            throw new Malformed('transfer coding');
        return 'chunked';
    }
    if (lengths.length === 0)
        return null;
    if (!/^\d{1,18}$/.test(lengths[0]))
        throw new Malformed('length');
    return Number(lengths[0]);
}

function options(fields)
{
    return all(fields, 'connection').flatMap((list) =>
        list.toLowerCase().split(',')
            .map((one) => one.replace(/^[ \t]+|[ \t]+$/g, '')));
}

/* http://authority/x as /x, if that is the Host. */
function originForm(target, host, method)
{
    if (target.startsWith('/') || (target === '*' && method === 'OPTIONS'))
        return target;
    const match = /^https?:\/\/([^/?]+)(\/.*)?$/i.exec(target);
    if (!match || match[1].toLowerCase() !== host.toLowerCase())
        throw new Malformed('target');
    return match[2] || '/';
}

function hostOf(fields, minor)
{
    const hosts = all(fields, 'host');
    if (hosts.length > 1 || (minor > 0 && hosts.length === 0))
        throw new Malformed('Host');
    return hosts[0] || '';
}

/* The request at `at`, behind any empty lines. */
export function readRequest(bytes, at)
{
    const reader = new Reader(bytes, at);
    while (bytes[reader.at] === 13 && bytes[reader.at + 1] === 10)
        reader.at += 2;
    const match = REQUEST_LINE.exec(reader.line());
    if (!match)
        throw new Malformed('request line');
    const [, method, target] = match;
    const minor = Number(match[3]);
    const fields = reader.fields();
    const frame = framing(fields, minor);
    const host = hostOf(fields, minor);
    const said = options(fields);
    const body = frame === 'chunked' ? reader.chunks() :
        reader.take(frame || 0);
    return {
        method, minor, fields, body, host, frame,
        target: originForm(target, host, method),
        options: said,
        closes: said.includes('close') ||
            (minor === 0 && !said.includes('keep-alive')),
        end: reader.at,
    };
}

/* Those at the start of `bytes`, up to the first that is not one, or is the
 * connection's last. `how`: why it ends there. */
export function readRequests(bytes)
{
    const list = [];
    for (let at = 0; at < bytes.length; at = list.at(-1).end) {
        try {
            list.push(readRequest(bytes, at));
        } catch (error) {
            if (error instanceof Malformed)
                return { list, how: 'malformed', why: error.message };
            if (error instanceof Partial)
                return { list, how: 'partial' };
            throw error;
        }
        if (list.at(-1).closes)
            return { list, how: 'closes' };
    }
    return { list, how: 'end' };
}

/* The final response at `at`, behind interim ones; `ended`: nothing comes
 * behind `bytes`. */
export function readResponse(bytes, at, method, ended)
{
    const reader = new Reader(bytes, at);
    const interims = [];
    for (;;) {
        const match = STATUS_LINE.exec(reader.line());
        if (!match)
            throw new Malformed('status line');
        const status = Number(match[2]);
        const minor = Number(match[1]);
        const fields = reader.fields();
        const frame = framing(fields, minor);
        if (status < 200 && status !== 101) {
            interims.push(status);
            continue;
        }
        const hasNone = method === 'HEAD' || status < 200 || status === 204 ||
            status === 304;
        const untilEnd = !hasNone && frame === null;
        if (untilEnd && !ended)
            throw new Partial('until the end');
        const body = hasNone ? Buffer.alloc(0) :
            frame === 'chunked' ? reader.chunks() :
            reader.take(untilEnd ? bytes.length - reader.at : frame);
        const said = options(fields);
        return { status, minor, fields, body, frame, interims, untilEnd,
                 options: said, end: reader.at,
                 closes: untilEnd || said.includes('close') ||
                     (minor === 0 && !said.includes('keep-alive')) };
    }
}

export function valueOf(message, name)
{
    return all(message.fields, name)[0];
}

export function valuesOf(message, name)
{
    return all(message.fields, name);
}
