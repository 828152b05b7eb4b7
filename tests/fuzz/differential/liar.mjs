/* SPDX-License-Identifier: MIT */
/* A backend that answers each request with the bytes that its client has
 * chosen, found by the token in the target. */

import { LocalServer } from './local-server.mjs';
import { Malformed, Partial, readRequest, readResponse } from './strict.mjs';

/* What a strict reader makes of an answer. `isLast`: the connection is of no
 * further use behind it. */
export function verdict(bytes, method)
{
    try {
        const response = readResponse(bytes, 0, method, true);
        if (response.status === 101)
            return { isGood: false, isLast: true, why: 'switch' };
        return { isGood: true, response,
                 isExcess: response.end < bytes.length,
                 isLast: response.closes || response.end < bytes.length };
    } catch (error) {
        if (error instanceof Partial)
            return { isGood: false, isLast: true, isPartial: true };
        if (error instanceof Malformed)
            return { isGood: false, isLast: true, why: error.message };
        throw error;
    }
}

export class Liar extends LocalServer {
    plans = new Map(); /* token to what plan() makes */

    connected(socket)
    {
        const state = { bytes: Buffer.alloc(0), over: null, busy: 0,
                        isEnd: false, turn: Promise.resolve() };
        socket.setNoDelay(true);
        socket.on('end', () => {
            state.isEnd = true;
            if (state.busy === 0)
                socket.end();
        });
        socket.on('data', (piece) => {
            state.bytes = Buffer.concat([state.bytes, piece]);
            this.#look(socket, state);
        });
    }

    #look(socket, state)
    {
        let request;
        try {
            request = readRequest(state.bytes, 0);
        } catch (error) {
            if (!(error instanceof Partial))
                this.errors.push(`${error.message} in ` +
                    JSON.stringify(state.bytes.toString('latin1')));
            return;
        }
        state.bytes = state.bytes.subarray(request.end);
        if (state.over)
            this.errors.push(`${request.target} came behind ${state.over}`);
        const token = /t=(N[0-9a-f]{16})/.exec(request.target)?.[1];
        const plan = this.plans.get(token);
        if (!plan) {
            this.errors.push(`${request.target} has no plan`);
            socket.destroy();
            return;
        }
        plan.seen++;
        if (plan.isLast && plan.isOne)
            state.over = token;
        state.busy++;
        state.turn = state.turn.then(() => this.#answer(socket, state, plan));
    }

    async #answer(socket, state, plan)
    {
        for (const piece of plan.list) {
            await new Promise((resolve) => socket.write(piece, resolve));
            if (plan.list.length > 1)
                await new Promise(setImmediate);
        }
        state.busy--;
        if (plan.isEnd || state.isEnd)
            socket.end();
    }
}
