/* SPDX-License-Identifier: MIT */
/* Mutated answers of a backend through a gateway to clients that pipeline. */

import { startGateway } from '../../support/gateway.mjs';
import { nextAddress, talk } from './client.mjs';
import { FuzzRun } from './fuzz-run.mjs';
import { Liar, verdict } from './liar.mjs';
import { mutate, pieces } from './mutate.mjs';
import { answer } from './responses.mjs';
import {
    Malformed, Partial, readResponse, valueOf, valuesOf,
} from './strict.mjs';

const TOKEN = /N[0-9a-f]{16}/g;

class Mismatch extends Error {}

function require(isTrue, what)
{
    if (!isTrue)
        throw new Mismatch(what);
}

const ONE_READ = 16_384;

/* One exchange: what was asked, and the answer that the backend gives. What a
 * backend says behind its answer shows only if both come at once: later it
 * cannot be told from the next answer. */
export function plan(method, token, whole, cuts)
{
    const first = verdict(whole, method);
    const isTooMuch = first.isExcess && whole.length >= ONE_READ;
    const bytes = isTooMuch ? whole.subarray(0, first.response.end) : whole;
    const said = isTooMuch ? verdict(bytes, method) : first;
    const list = first.isExcess ? [bytes] : cuts;
    return {
        method, token, bytes, list, said, seen: 0,
        isLast: said.isLast,
        isOne: list.length === 1 && bytes.length < ONE_READ,
        /* Where a reader could wait for more, nothing more comes. */
        isEnd: !said.isGood || said.response.untilEnd,
    };
}

/* A response that sidgate passed on, against what the backend framed. */
function checkPassed(response, one)
{
    require(one.said.isGood, `passed on a malformed one (${one.said.why})`);
    const { status, body, fields } = one.said.response;
    require(response.status === status, `${status} became ${response.status}`);
    require(response.body.equals(body), 'the same body');
    const text = JSON.stringify(response.fields);
    for (const [name, value] of fields.filter(([n]) => n.startsWith('x-t-')))
        require(one.said.response.options.includes(name) ||
            valuesOf(response, name).includes(value), `${name} in ${text}`);
    require(valuesOf(response, 'content-length').length +
        valuesOf(response, 'transfer-encoding').length <= 1, 'one framing');
}

const isOwn = (response) =>
    valueOf(response, 'cache-control') === 'no-store' &&
    [502, 503, 504].includes(response.status) && response.fields.length <= 7;

/* Whatever came back for a plan, tokens of no other are in it. */
function checkTokens(bytes, one, others)
{
    for (const [token] of bytes.toString('latin1').matchAll(TOKEN))
        require(token === one.token || !others.has(token),
                `${token} in the answer to ${one.token}`);
}

function readOne(bytes, at, one)
{
    const asHead = readResponse(bytes, at, 'HEAD', true);
    const isMine = isOwn(asHead);
    return { isMine, response: readResponse(bytes, at, one.method, true) };
}

/* Only the last answer may be cut short: its connection ends with it. */
function checkCut(error, bytes, at, one, how)
{
    if (!(error instanceof Partial))
        throw error;
    const said = one.said;
    require(!said.isGood || said.isExcess, `a whole answer was cut (${how})`);
    checkTokens(bytes.subarray(at), one, new Set());
}

function check(plans, got, tokens)
{
    let at = 0;
    const sums = { responses: 0, refusals: 0 };
    const { bytes, how } = got;
    require(how === 'fin' || how === 'rst', how);
    for (const one of plans) {
        if (at >= bytes.length) {
            require(how === 'rst' || sums.hasClosed, `${one.token} has none`);
            return sums;
        }
        let found;
        try {
            found = readOne(bytes, at, one);
        } catch (error) {
            checkCut(error, bytes, at, one, how);
            sums.refusals++;
            return sums;
        }
        const { response, isMine } = found;
        checkTokens(bytes.subarray(at, response.end), one, tokens);
        if (isMine && !(one.said.isGood && one.said.response.status ===
            response.status))
            sums.refusals++;
        else
            checkPassed(response, one);
        sums.responses++;
        sums.hasClosed = response.closes;
        at = response.end;
    }
    require(at === bytes.length, 'bytes behind the last answer');
    return sums;
}

export class ResponseRun extends FuzzRun {
    tokens = new Set();

    async start()
    {
        this.liar = await new Liar('n1').start();
        this.backends = [this.liar];
        this.gateway = await startGateway({ backends: this.backends,
            args: ['--recovery', 'off', '--log-level', 'error',
                '--response-timeout', '5s'] });
        return this;
    }

    async one(plans)
    {
        for (const one of plans) {
            this.liar.plans.set(one.token, one);
            this.tokens.add(one.token);
        }
        const asked = plans.map(({ method, token }) =>
            `${method} /x?t=${token} HTTP/1.1\r\nHost: h\r\n` +
            (token === plans.at(-1).token ? 'Connection: close\r\n' : '') +
            `${method === 'POST' ? 'Content-Length: 2\r\n\r\nab' : '\r\n'}`);
        const got = await talk(this.gateway.port, [Buffer.from(asked.join(''))],
                               { localAddress: nextAddress(),
                                 waits: true });
        this.sums.streams++;
        this.sums.requests += plans.filter(({ seen }) => seen > 0).length;
        try {
            this.sums.refusals += check(plans, got, this.tokens).refusals;
            for (const one of plans)
                require(one.seen <= (one.method === 'POST' ? 1 : 2),
                        `${one.token} was asked for ${one.seen} times`);
        } catch (error) {
            if (!(error instanceof Mismatch || error instanceof Malformed ||
                  error instanceof Partial))
                throw error;
            this.mismatch(`${error.constructor.name}: ${error.message}; ` +
                JSON.stringify(got.bytes.toString('latin1')).slice(0, 1500),
                          plans);
        }
        for (const one of plans) {
            this.liar.plans.delete(one.token);
            this.tokens.delete(one.token);
        }
    }

    random(chance)
    {
        const plans = [];
        for (let i = chance.between(1, 4); i > 0; i--) {
            const method = chance.of(['GET', 'GET', 'POST', 'HEAD']);
            const token = chance.token();
            const valid = answer(chance, token, method);
            const bytes = chance.once(3) ? valid : mutate(valid, chance).bytes;
            plans.push(plan(method, token, bytes, pieces(bytes, chance)));
        }
        return this.one(plans);
    }
}
