/* SPDX-License-Identifier: MIT */
/* A strict reader of HTTP/1.1 messages: what sidgate writes must satisfy it. */

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const FIELD = new RegExp(`^(${TOKEN}):[ \\t]*(.*?)[ \\t]*$`, 's');
const REQUEST_LINE =
    new RegExp(`^(${TOKEN}) ([\\x21-\\x7e]+) HTTP/(1\\.[01])$`);
const STATUS_LINE = /^HTTP\/(1\.[01]) ([1-5]\d\d) ([\t\x20-\x7e\x80-\xff]*)$/;
const CRLF = Buffer.from('\r\n');
const HEAD_END = Buffer.from('\r\n\r\n');

function malformed(what, text)
{
    const shown = JSON.stringify(text.slice(0, 400));
    return Object.assign(new Error(`malformed ${what}: ${shown}`),
                         { malformed: true });
}

function parseField(line)
{
    const match = FIELD.exec(line);
    // eslint-disable-next-line no-control-regex
    if (!match || /[\x00-\x08\x0a-\x1f\x7f]/.test(match[2]))
        throw malformed('field', line);
    return [match[1], match[2]];
}

function parseStart(kind, line)
{
    const match = (kind === 'request' ? REQUEST_LINE : STATUS_LINE).exec(line);
    if (!match)
        throw malformed(`${kind} line`, line);
    if (kind === 'request')
        return { method: match[1], target: match[2], version: match[3] };
    return { version: match[1], status: Number(match[2]), reason: match[3] };
}

class Head {
    constructor(kind, start, headers, size)
    {
        Object.assign(this, start, { kind, headers, size });
    }

    /* Every value of a field, in order. */
    all(name)
    {
        const wanted = name.toLowerCase();
        return this.headers.filter(([n]) => n.toLowerCase() === wanted)
            .map(([, value]) => value);
    }

    /* The value of a field that may be there once; undefined without it. */
    get(name)
    {
        const values = this.all(name);
        if (values.length > 1)
            throw malformed('repeated field', `${name}: ${values}`);
        return values[0];
    }

    has(name)
    {
        return this.all(name).length > 0;
    }
}

/* The head at the start of `buffer`, or null where it is not whole yet. */
export function parseHead(buffer, kind)
{
    const end = buffer.indexOf(HEAD_END);
    if (end < 0)
        return null;
    const [first, ...lines] =
        buffer.subarray(0, end).toString('latin1').split('\r\n');
    return new Head(kind, parseStart(kind, first), lines.map(parseField),
                    end + HEAD_END.length);
}

/* How the body of `head` ends: none, length, chunked or close. `method` is
 * that of the request that a response answers. */
export function bodyFraming(head, method)
{
    const { status } = head;
    if (head.has('transfer-encoding')) {
        if (head.get('transfer-encoding') !== 'chunked' ||
            head.has('content-length') || head.version === '1.0')
            throw malformed('framing', JSON.stringify(head.headers));
        if (status < 200 || status === 204)
            throw malformed('framing', `chunked in a ${status}`);
    }
    if (status && (status < 200 || status === 204 || status === 304 ||
                   method === 'HEAD'))
        return 'none';
    if (head.has('transfer-encoding'))
        return 'chunked';
    if (head.has('content-length')) {
        if (!/^\d+$/.test(head.get('content-length')))
            throw malformed('framing', head.get('content-length'));
        return 'length';
    }
    return head.kind === 'request' ? 'none' : 'close';
}

function parseTrailers(buffer, at)
{
    const trailers = [];
    for (;;) {
        const end = buffer.indexOf(CRLF, at);
        if (end < 0)
            return null;
        if (end === at)
            return { trailers, at: end + 2 };
        trailers.push(parseField(buffer.toString('latin1', at, end)));
        at = end + 2;
    }
}

/* Reads chunks from `at`; null where they are not whole yet. */
export function parseChunked(buffer, at = 0)
{
    const chunks = [];
    for (;;) {
        const end = buffer.indexOf(CRLF, at);
        if (end < 0)
            return null;
        const line = buffer.toString('latin1', at, end);
        if (!/^[0-9a-fA-F]{1,8}$/.test(line))
            throw malformed('chunk size', line);
        const size = parseInt(line, 16);
        at = end + 2;
        if (size === 0) {
            const tail = parseTrailers(buffer, at);
            return tail && { chunks, trailers: tail.trailers, size: tail.at };
        }
        if (buffer.length < at + size + 2)
            return null;
        if (buffer.toString('latin1', at + size, at + size + 2) !== '\r\n')
            throw malformed('end of a chunk', line);
        chunks.push(buffer.subarray(at, at + size));
        at += size + 2;
    }
}

/* The body of `head` at the start of `buffer` as {body, text, chunks,
 * trailers, framing, bodySize}; null where more must come. `ended` says that
 * nothing follows (a body may end by that). */
export function parseBody(buffer, head, { method, ended })
{
    const framing = bodyFraming(head, method);
    if (framing === 'chunked') {
        const found = parseChunked(buffer);
        if (!found)
            return null;
        const { chunks, trailers, size } = found;
        const body = Buffer.concat(chunks);
        return { body, text: body.toString('latin1'), chunks, trailers,
                 framing, bodySize: size };
    }
    let size = 0;
    if (framing === 'length')
        size = Number(head.get('content-length'));
    else if (framing === 'close')
        size = ended ? buffer.length : Infinity;
    if (buffer.length < size)
        return null;
    const body = Buffer.from(buffer.subarray(0, size));
    return { body, text: body.toString('latin1'), chunks: [body],
             trailers: [], framing, bodySize: size };
}

/* The whole message at the start of `buffer`: a head with the members of
 * parseBody() and its size in bytes; null where more must come. */
export function parseMessage(buffer, { kind, method, ended })
{
    const head = parseHead(buffer, kind);
    const body = head && parseBody(buffer.subarray(head.size), head,
                                   { method, ended });
    if (!body)
        return null;
    return Object.assign(head, body, { size: head.size + body.bodySize });
}
