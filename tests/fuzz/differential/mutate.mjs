/* SPDX-License-Identifier: MIT */
/* Bytes of messages, spoilt a little. */

const PIECES = ['\r', '\n', '\r\n', '\r\n\r\n', '\0', ' ', '\t', ':', ';', ',',
    '#', '0', '\x7f', '\xa0', '\x0b', ' \r\n', '\r\n ', '\r\r\n', '+', '0x',
    'GET / HTTP/1.1\r\nHost: h\r\n\r\n', 'HTTP/1.1 200 OK\r\n\r\n',
    'Content-Length: 3\r\n', 'Transfer-Encoding: chunked\r\n', 'chunked',
    'Transfer-Encoding : chunked\r\n', 'Transfer-Encoding: identity\r\n',
    'Content-Length: 5, 6\r\n', 'Content-Length: \r\n', 'Host: other\r\n',
    'Connection: close\r\n', 'Connection: Upgrade\r\n', 'HTTP/1.0',
    'Connection: content-length, host, x-t-id\r\n', 'Expect: 100-continue\r\n',
    'Upgrade: h2c\r\n', '0\r\n\r\n', '\r\n0\r\n', 'ffffffffffffffff\r\n',
    '; a=b', 'X-T-More: 1\r\n', ': empty\r\n'];

const insert = (bytes, at, more) => Buffer.concat(
    [bytes.subarray(0, at), more, bytes.subarray(at)]);

const remove = (bytes, at, count) => Buffer.concat(
    [bytes.subarray(0, at), bytes.subarray(at + count)]);

/* Where a line begins: the interesting places are there. */
function lineStart(bytes, chance)
{
    const at = bytes.indexOf('\r\n', chance.below(bytes.length));
    return at < 0 ? 0 : at + 2;
}

function lineAt(bytes, start)
{
    const end = bytes.indexOf('\r\n', start);
    return end < 0 ? bytes.length : end + 2;
}

/* The place of a run of digits, or null. */
function digits(bytes, chance)
{
    const text = bytes.toString('latin1');
    const found = [...text.matchAll(
        /(?<=length: ?)\d+|(?<=\n)[0-9a-f]+(?=\r)/gi)];
    if (found.length === 0)
        return null;
    const one = chance.of(found);
    return { at: one.index, text: one[0] };
}

const NUMBERS = ['0', '00', '+1', '-1', '1e1', '0x5', '99999999999999999999',
    '18446744073709551617', 'fffffffffffffffff', '1 1', ' ', ''];

/* What overflows to the right value. */
function wrapped(text, chance)
{
    return chance.once(2) ? `1${text.padStart(16, '0')}` :
        String(2n ** 64n + BigInt(`0x${text}`));
}

function number(bytes, chance)
{
    const place = digits(bytes, chance);
    if (!place)
        return { at: bytes.length, bytes };
    const value = chance.of([() => chance.of(NUMBERS),
        () => wrapped(place.text, chance),
        () => String(Number(place.text) + chance.between(-3, 3))])();
    const rest = remove(bytes, place.at, place.text.length);
    return { at: place.at,
             bytes: insert(rest, place.at, Buffer.from(value, 'latin1')) };
}

function line(bytes, chance, keeps)
{
    const start = lineStart(bytes, chance);
    const one = bytes.subarray(start, lineAt(bytes, start));
    const rest = keeps ? bytes : remove(bytes, start, one.length);
    const to = chance.once(2) ? start : lineStart(rest, chance);
    return { at: Math.min(start, to), bytes: insert(rest, to, one) };
}

const KINDS = {
    flip(bytes, chance) {
        const at = chance.below(bytes.length);
        const copy = Buffer.from(bytes);
        copy[at] ^= 1 << chance.below(8);
        return { at, bytes: copy };
    },
    replace(bytes, chance) {
        const at = chance.below(bytes.length);
        const copy = Buffer.from(bytes);
        copy[at] = chance.below(256);
        return { at, bytes: copy };
    },
    remove(bytes, chance) {
        const at = chance.below(bytes.length);
        return { at, bytes: remove(bytes, at, chance.between(1, 4)) };
    },
    twice(bytes, chance) {
        const at = chance.below(bytes.length);
        const some = bytes.subarray(at, at + chance.between(1, 40));
        return { at, bytes: insert(bytes, at, some) };
    },
    splice(bytes, chance) {
        const at = chance.once(3) ? chance.below(bytes.length) :
            lineStart(bytes, chance);
        const piece = Buffer.from(chance.of(PIECES), 'latin1');
        return { at, bytes: insert(bytes, at, piece) };
    },
    /* Next to what separates things. */
    beside(bytes, chance) {
        const mark = chance.of([':', ' ', '\r', '\n', '/', '1']);
        const found = bytes.indexOf(mark, chance.below(bytes.length));
        const at = found < 0 ? 0 : found + chance.below(2);
        const piece = Buffer.from(chance.of(PIECES.slice(0, 20)), 'latin1');
        return { at, bytes: insert(bytes, at, piece) };
    },
    number,
    swap: (bytes, chance) => line(bytes, chance, false),
    again: (bytes, chance) => line(bytes, chance, true),
    cut(bytes, chance) {
        const at = chance.below(bytes.length);
        return { at, bytes: bytes.subarray(0, at) };
    },
};

/* Gives {bytes, at, kinds}: nothing before `at` has changed. */
export function mutate(bytes, chance)
{
    const count = chance.once(3) ? chance.between(2, 4) : 1;
    const out = { bytes, at: bytes.length, kinds: [] };
    for (let i = 0; i < count && out.bytes.length > 0; i++) {
        const kind = chance.of(Object.keys(KINDS));
        const one = KINDS[kind](out.bytes, chance);
        out.bytes = one.bytes;
        out.at = Math.min(out.at, one.at);
        out.kinds.push(kind);
    }
    return out;
}

/* The sizes of the pieces in which `bytes` are to be written. */
export function pieces(bytes, chance)
{
    if (!chance.once(3))
        return [bytes];
    if (chance.once(4) && bytes.length < 600)
        return Array.from(bytes, (_, i) => bytes.subarray(i, i + 1));
    const list = [];
    for (let at = 0; at < bytes.length;) {
        const most = chance.of([3, 40, 300, 5000]);
        const size = chance.between(1, most);
        list.push(bytes.subarray(at, at + size));
        at += size;
    }
    return list;
}
