/* SPDX-License-Identifier: MIT */
/* Valid answers of every kind, each marked with `token`. */

function chunks(body, chance)
{
    let out = '';
    for (let at = 0; at < body.length;) {
        const size = chance.between(1, body.length - at);
        const extension = chance.once(8) ? ';x' : '';
        out += `${size.toString(16)}${extension}\r\n` +
            `${body.slice(at, at + size)}\r\n`;
        at += size;
    }
    return `${out}0\r\n${chance.once(8) ? 'X-T-Trailer: 1\r\n' : ''}\r\n`;
}

function statusLine(chance, token)
{
    if (chance.once(10))
        return `HTTP/1.1 ${chance.of(['204 No', '304 Same'])} ${token}\r\n`;
    const minor = chance.once(15) ? 0 : 1;
    const status = chance.of(['200 OK', '200', '201 ', '404 Not Found',
        '400 Bad Request', '500 Oh']);
    return `HTTP/1.${minor} ${status}\r\n`;
}

/* The bytes; a body without a length goes to the connection's end. */
export function answer(chance, token, method)
{
    const interim = chance.once(12) ?
        chance.of(['HTTP/1.1 100 Continue\r\n\r\n',
            `HTTP/1.1 103 Hints\r\nX-T-Early: ${token}\r\n\r\n`]) : '';
    const start = statusLine(chance, token);
    const isOld = start.startsWith('HTTP/1.0');
    const hasNone = / 204| 304/.test(start);
    const body = token + 'x'.repeat(chance.once(10) ?
        chance.below(100_000) : chance.below(50)) + token;
    const fields = [`X-T-Token: ${token}\r\n`];
    let after = '';
    if (!hasNone) {
        const kind = chance.below(8);
        if (kind < 4 || method === 'HEAD') {
            fields.push(`Content-Length: ${body.length}\r\n`);
            after = body;
        } else if (kind < 7 && !isOld) {
            fields.push('Transfer-Encoding: chunked\r\n');
            after = chunks(body, chance);
        } else {
            after = body;
        }
    }
    if (chance.once(8))
        fields.push(`Connection: ${chance.of(['close', 'keep-alive',
            'X-T-Token, close'])}\r\n`);
    if (chance.once(3))
        fields.push('Keep-Alive: timeout=5\r\n');
    if (chance.once(8))
        fields.push('Content-Type: text/plain\r\nServer: x\r\n');
    return Buffer.from(`${interim}${start}${fields.join('')}\r\n` +
        `${method === 'HEAD' ? '' : after}`, 'latin1');
}
