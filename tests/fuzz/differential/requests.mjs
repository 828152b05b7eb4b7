/* SPDX-License-Identifier: MIT */
/* Valid requests of every kind that sidgate is to carry. */

import { WS_KEY } from '../../support/engine.mjs';

const EIO = '/socket.io/?EIO=4&transport=polling';
const METHODS = ['GET', 'GET', 'GET', 'POST', 'POST', 'HEAD', 'PUT', 'DELETE',
    'OPTIONS', 'PATCH'];

/* In any letter case and with any white space that is allowed. */
function field(name, value, chance)
{
    const cased = chance.once(6) ? name.toUpperCase() :
        chance.once(5) ? name.toLowerCase() : name;
    const space = chance.once(8) ? chance.of(['', '\t', '  ']) : ' ';
    const tail = chance.once(12) ? chance.of([' ', '\t']) : '';
    return `${cased}:${space}${value}${tail}\r\n`;
}

function chunked(body, chance)
{
    let out = '';
    for (let at = 0; at < body.length;) {
        const size = chance.between(1, Math.max(1, body.length - at));
        const extension = chance.once(8) ? ';a=b' : '';
        const zeros = chance.once(10) ? '00' : '';
        out += `${zeros}${size.toString(16)}${extension}\r\n` +
            `${body.slice(at, at + size)}\r\n`;
        at += size;
    }
    const trailer = chance.once(8) ? 'X-T-Trailer: no\r\n' : '';
    return `${out}0\r\n${trailer}\r\n`;
}

function bodySize(chance)
{
    if (chance.once(40))
        return chance.between(60_000, 140_000);
    return chance.once(10) ? chance.between(1000, 20_000) :
        chance.between(0, 60);
}

function target(chance, sids)
{
    const id = chance.token();
    if (chance.once(3))
        return `${EIO}&sid=${chance.of(sids)}&t=${id}`;
    if (chance.once(5))
        return `${EIO}&t=${id}`;
    const path = chance.of(['/', '/a/b', '/%2e%2e/x', '/a//b;c', '/é'])
        .replace('é', '%c3%a9');
    const whole = `${path}?id=${id}&x=${chance.text(chance.below(12))}`;
    return chance.once(12) ? `http://h${whole}` : whole;
}

function upgrade(chance, sids)
{
    const sid = chance.once(2) ? `&sid=${chance.of(sids)}` : '';
    return `GET /socket.io/?EIO=4&transport=websocket${sid}` +
        `&t=${chance.token()} HTTP/1.1\r\nHost: h\r\n` +
        field('X-T-Id', chance.token(), chance) +
        'Connection: Upgrade\r\nUpgrade: websocket\r\n' +
        'Sec-WebSocket-Version: 13\r\n' +
        `Sec-WebSocket-Key: ${WS_KEY}\r\n\r\n`;
}

function request(chance, sids, isLast)
{
    if (isLast && chance.once(8))
        return upgrade(chance, sids) + chance.text(chance.below(40));
    if (chance.once(30))
        return 'OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n';
    const method = chance.of(METHODS);
    const isOld = chance.once(20);
    const fields = [field('X-T-Id', chance.token(), chance)];
    for (let i = chance.below(3); i > 0; i--)
        fields.push(field(`X-T-${chance.text(3)}`, chance.text(8), chance));
    if (!isOld || chance.once(2))
        fields.push(field('Host', 'h', chance));
    if (chance.once(15))
        fields.push(field('Connection', chance.of(['close', 'keep-alive',
            'x-t-id', 'keep-alive, X-T-Id', 'upgrade']), chance));
    if (chance.once(20))
        fields.push(field('X-Forwarded-For', '6.6.6.6', chance));
    if (chance.once(20))
        fields.push(field('Upgrade', 'h2c', chance));
    let body = '';
    if (method === 'POST' || method === 'PUT' || chance.once(15)) {
        body = chance.token() + chance.text(bodySize(chance));
        const isChunked = !isOld && chance.once(2);
        fields.push(isChunked ? field('Transfer-Encoding', 'chunked', chance) :
            field('Content-Length', body.length, chance));
        if (chance.once(10))
            fields.push(field('Expect', '100-continue', chance));
        if (isChunked)
            body = chunked(body, chance);
    }
    fields.sort(() => chance.between(-1, 1));
    const blank = chance.once(20) ? '\r\n' : '';
    return `${blank}${method} ${target(chance, sids)} ` +
        `HTTP/1.${isOld ? 0 : 1}\r\n${fields.join('')}\r\n${body}`;
}

/* Several of them, as one client sends them on one connection. */
export function stream(chance, sids)
{
    const count = chance.between(1, 6);
    const list = [];
    for (let i = 0; i < count; i++)
        list.push(request(chance, sids, i === count - 1));
    return Buffer.from(list.join(''), 'latin1');
}
