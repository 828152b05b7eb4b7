/* SPDX-License-Identifier: MIT */
/* What must hold of one client's bytes, of what the backends recorded of it and
 * of what it got back. */

import {
    Malformed, Partial, readRequests, readResponse, valueOf, valuesOf,
} from './strict.mjs';

class Mismatch extends Error {}

function require(isTrue, what)
{
    if (!isTrue)
        throw new Mismatch(what);
}

const GO_ON = 'HTTP/1.1 100 Continue\r\n\r\n';

/* sidgate's own answers to HEAD announce a body that does not follow; the
 * text of its bodies never looks like a response. */
function ownMethod(bytes, end)
{
    const next = bytes.toString('latin1', end, end + 5);
    return next === '' || next === 'HTTP/' ? 'HEAD' : 'GET';
}

/* Responses in order; a backend's one with its record. */
function readResponses(bytes, records)
{
    const byNonce = new Map(records.map((one) => [one.nonce, one]));
    const list = [];
    for (let at = 0; at < bytes.length; at = list.at(-1).end) {
        /* The body that was asked for did not come. */
        if (bytes.toString('latin1', at) === GO_ON)
            break;
        const head = readResponse(bytes, at, 'HEAD', true);
        const record = byNonce.get(valueOf(head, 'x-nonce'));
        const method = record ? record.method : ownMethod(bytes, head.end);
        const response = readResponse(bytes, at, method, true);
        list.push({ ...response, record });
        if (response.status === 101)
            break;
    }
    return list;
}

const names = (list) => list.map(([name, value]) => `${name}: ${value}`).join();

function checkFields(record, asked)
{
    const { fields } = record;
    const one = (name) => valuesOf(record, name).length;
    const passed = (list) => list.filter(([name]) => name.startsWith('x-t-') &&
        !asked.options.includes(name));
    require(one('host') === 1, 'one Host');
    require(one('via') === 1 &&
        /^1\.[01] sidgate$/.test(valueOf(record, 'via')), 'one Via');
    for (const name of ['x-forwarded-for', 'x-forwarded-proto'])
        require(one(name) === 1, `one ${name}`);
    require(one('content-length') + one('transfer-encoding') <= 1,
            'one framing');
    require(valueOf(record, 'host') === asked.host, 'the same Host');
    require(names(passed(fields)) === names(passed(asked.fields)),
            `the same fields: ${names(fields)}`);
}

/* sid= as a server reads it: the owner is the only backend to see it. */
function checkOwner(record, owners)
{
    const match = /^\/socket\.io\/\?(.*)$/.exec(record.url);
    const sid = match && new URLSearchParams(match[1]).get('sid');
    const owner = sid && owners.get(sid);
    require(!owner || owner === record.witness.id ||
        record.method === 'OPTIONS', `${sid} is ${owner}'s`);
}

function checkPair(response, asked, owners)
{
    const { record } = response;
    if (!record)
        return;
    require(asked, `nobody asked for ${record.method} ${record.url}`);
    require(record.isWhole, 'a whole request');
    require(record.method === asked.method && record.url === asked.target,
            `${record.method} ${record.url} was sent as ` +
            `${asked.method} ${asked.target}`);
    require(record.body.equals(asked.body), 'the same body');
    checkFields(record, asked);
    checkOwner(record, owners);
}

function check({ bytes, answer, records, owners, until })
{
    const asked = readRequests(bytes);
    require(answer.how === 'fin' || answer.how === 'rst', answer.how);
    const responses = readResponses(answer.bytes, records);
    responses.forEach((response, i) =>
        checkPair(response, asked.list[i], owners));
    const told = responses.filter(({ record }) => record);
    const whole = records.filter(({ isWhole }) => isWhole);
    require(told.length === whole.length,
            `${whole.length} reached backends, ${told.length} were answered`);
    told.forEach(({ record }, i) => require(record === whole[i], 'the order'));
    const last = responses.at(-1);
    const hasClosed = last && (last.closes || last.status === 101);
    require(answer.how === 'fin' || last?.status === 101, 'no reset');
    if (responses.length < asked.list.length)
        require(hasClosed, 'an answer to each request');
    /* What came before the first change is not touched by it. */
    const sure = asked.list.filter(({ end }) => end <= until).length;
    if (!hasClosed)
        require(responses.length >= sure, 'answers before the change');
    for (const extra of responses.slice(asked.list.length))
        require(!extra.record && extra.status >= 400 && extra.closes &&
            extra === last, 'a refusal is the end');
    return { requests: whole.length,
             refusals: responses.filter(({ record, status }) =>
                 !record && status >= 400).length };
}

/* With a client that went away, only what reached the backends is looked at:
 * it is the beginning of what was asked. */
function checkAborted({ bytes, records, owners })
{
    const { list } = readRequests(bytes);
    let at = 0;
    for (const record of records.filter(({ isWhole }) => isWhole)) {
        while (at < list.length && (list[at].method !== record.method ||
                                    list[at].target !== record.url))
            at++;
        checkPair({ record }, list[at++], owners);
    }
    return { requests: records.length, refusals: 0 };
}

/* Gives {requests, refusals}, or {mismatch} with a text. */
export function judge(run)
{
    try {
        return run.aborts ? checkAborted(run) : check(run);
    } catch (error) {
        if (error instanceof Mismatch || error instanceof Malformed ||
            error instanceof Partial)
            return { mismatch: `${error.constructor.name}: ${error.message}` };
        throw error;
    }
}
