/* SPDX-License-Identifier: MIT */
/* Every byte in every place of a message: places, which bytes are legal there,
 * and a run over all of them. */

import { IS_TLS } from './wire.mjs';

const AT_ONCE = 16;
/* TLS changes nothing about bytes: there, some stand for their likes. */
const BYTES = Array.from({ length: 256 }, (_, code) =>
    String.fromCharCode(code)).filter((byte) =>
    !IS_TLS || !/[b-df-yB-DF-Y2-46-8\x82-\x9f\xa1-\xfe]/.test(byte));

export const among = (pattern) => (byte) => pattern.test(byte);
export const none = () => false;

const TOKEN = among(/[!#$%&'*+.^_`|~0-9A-Za-z-]/);
const BLANK = among(/[\t ]/);
const HEX = among(/[0-9a-fA-F]/);
export const VALUE = among(/[\t\x20-\x7e\x80-\xff]/);

/*
 * A place is [its name, the message with a byte in it, when it is legal, when
 * either verdict is right, which bytes are left out since they make another
 * message of it].
 */

/* The fields of a message; `make(fields)` is the message. */
export const fieldPlaces = (make) => [
    ['before a name', (b) => make(`${b}A: c\r\n`), TOKEN],
    ['within a name', (b) => make(`A${b}B: c\r\n`),
     (b) => TOKEN(b) || b === ':'],
    ['behind a name', (b) => make(`A${b}: c\r\n`),
     (b) => TOKEN(b) || b === ':'],
    ['a name', (b) => make(`${b}: c\r\n`), TOKEN],
    ['before a value', (b) => make(`A:${b}c\r\n`), VALUE],
    ['within a value', (b) => make(`A: b${b}c\r\n`), VALUE],
    ['behind a value', (b) => make(`A: b${b}\r\n`), VALUE],
    ['before a line of the head', (b) => make(`A: b\r\n${b}\r\n`), none],
];

/* The field that frames a body of "hello"; `make(field, body)`. */
export const lengthPlaces = (make) => [
    ['before a length', (b) => make(`Content-Length: ${b}5`, 'hello'),
     (b) => BLANK(b) || b === '0', none, among(/[1-9]/)],
    ['within a length', (b) => make(`Content-Length: 0${b}5`, 'hello'),
     among(/0/), none, among(/[1-9]/)],
    ['behind a length', (b) => make(`Content-Length: 5${b}`, 'hello'),
     among(/ /), among(/\t/), among(/[0-9]/)],
    ['before a coding', (b) => make(`Transfer-Encoding: ${b}chunked`,
                                    '5\r\nhello\r\n0\r\n\r\n'), BLANK],
    ['within a coding', (b) => make(`Transfer-Encoding: chun${b}ked`,
                                    '5\r\nhello\r\n0\r\n\r\n'), none],
    ['behind a coding', (b) => make(`Transfer-Encoding: chunked${b}`,
                                    '5\r\nhello\r\n0\r\n\r\n'), BLANK],
];

/* A body of "hello" in chunks; `make(body)` is the message. */
export const chunkPlaces = (make) => [
    ['before a chunk size', (b) => make(`${b}5\r\nhello\r\n0\r\n\r\n`),
     among(/0/), none, HEX],
    ['behind a chunk size', (b) => make(`5${b}\r\nhello\r\n0\r\n\r\n`),
     none, among(/[; \t]/), HEX],
    ['a chunk size', (b) => make(`${b}\r\nhello\r\n0\r\n\r\n`), among(/5/)],
    ['within a chunk extension',
     (b) => make(`5;a${b}b\r\nhello\r\n0\r\n\r\n`),
     among(/[=0-9a-zA-Z]/), VALUE],
    ['within a quoted chunk extension',
     (b) => make(`5;a="b${b}c"\r\nhello\r\n0\r\n\r\n`),
     among(/[\x20!#-[\]-~]/), VALUE],
    ['behind a chunk', (b) => make(`5\r\nhello${b}\n0\r\n\r\n`), among(/\r/)],
    ['for LF behind a chunk', (b) => make(`5\r\nhello\r${b}0\r\n\r\n`),
     among(/\n/)],
    ['behind the last size', (b) => make(`5\r\nhello\r\n0${b}\n\r\n`),
     among(/\r/)],
    ['for the last CR', (b) => make(`5\r\nhello\r\n0\r\n${b}\n`), among(/\r/)],
    ['within a name of a trailer',
     (b) => make(`5\r\nhello\r\n0\r\nA${b}B: c\r\n\r\n`),
     (b) => TOKEN(b) || b === ':'],
    ['within a value of a trailer',
     (b) => make(`5\r\nhello\r\n0\r\nA: b${b}c\r\n\r\n`), VALUE],
];

/*
 * Each byte in its turn, some at once. `verdict(message, byte)` says 'passed',
 * 'refused', 'cut' (a refusal that came late), or what went wrong. Gives how
 * many were tried and passed, and a line for each that is wrong.
 */
export async function tryPlace(place, verdict)
{
    const [, make, isLegal, isFree = none, skip = none] = place;
    const bytes = BYTES.filter((byte) => !skip(byte));
    const wrong = [];
    let passed = 0;

    const tryOne = async (byte) => {
        const what = await verdict(make(byte), byte).catch(String);
        const hasPassed = what === 'passed';
        const isRefused = what === 'refused' || what === 'cut';
        passed += hasPassed;
        if (isFree(byte) ? !hasPassed && !isRefused :
            !(isLegal(byte) ? hasPassed : isRefused))
            wrong.push(`${JSON.stringify(byte)}: ${what}`);
    };
    for (let i = 0; i < bytes.length; i += AT_ONCE)
        await Promise.all(bytes.slice(i, i + AT_ONCE).map(tryOne));
    return { tried: bytes.length, passed, wrong };
}
