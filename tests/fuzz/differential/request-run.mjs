/* SPDX-License-Identifier: MIT */
/* Mutated streams of requests through a gateway to two witnesses. */

import { handshakeRequest } from '../../support/engine.mjs';
import { startGateway } from '../../support/gateway.mjs';
import { statusBytes } from '../../support/process.mjs';
import { exchange } from '../../support/wire.mjs';
import { nextAddress, talk } from './client.mjs';
import { mutate, pieces } from './mutate.mjs';
import { judge } from './request-oracle.mjs';
import { stream } from './requests.mjs';
import { Witness } from './witness.mjs';

const LANES = 8;
const SIDS = [['differentialsid0000a1', 'differentialsid0000a2'],
    ['differentialsid0000b1', 'differentialsid0000b2']];

export class RequestRun {
    constructor(report)
    {
        this.report = report;
        this.sums = { streams: 0, requests: 0, refusals: 0, mismatches: 0 };
        this.owners = new Map();
    }

    async start()
    {
        this.witnesses = await Promise.all(SIDS.map((sids, i) =>
            new Witness(`n${i + 1}`, sids).start()));
        SIDS.forEach((sids, i) => sids.forEach((sid) =>
            this.owners.set(sid, `n${i + 1}`)));
        this.gateway = await startGateway({ backends: this.witnesses,
            args: ['--recovery', 'off', '--log-level', 'error',
                '--balance', 'round-robin'] });
        for (let i = 0; i < 16; i++)
            await exchange(this.gateway.port, handshakeRequest());
        this.rss = 0;
        return this;
    }

    /* One stream; `until` is where it may differ from a valid one. */
    async one({ bytes, until, list, aborts = false, about })
    {
        const localAddress = nextAddress();
        const answer = await talk(this.gateway.port, list,
                                  { localAddress, aborts });
        const records = this.witnesses
            .flatMap((witness) => witness.collect(localAddress))
            .sort((a, b) => a.at - b.at);
        const result = judge({ bytes, answer, records, until, aborts,
                               owners: this.owners });
        this.sums.streams++;
        this.sums.requests += result.requests || 0;
        this.sums.refusals += result.refusals || 0;
        if (result.mismatch)
            this.#mismatch(`${result.mismatch} (${about}; answered ` +
                `${JSON.stringify(answer.bytes.toString('latin1'))
                    .slice(0, 600)})`, bytes);
    }

    #mismatch(why, bytes)
    {
        this.sums.mismatches++;
        this.report(why, bytes, 'requests');
    }

    /* `chance` decides all of it. */
    random(chance)
    {
        const sids = SIDS.flat();
        const valid = stream(chance, sids);
        const change = chance.once(10) ?
            { bytes: valid, at: valid.length, kinds: ['none'] } :
            mutate(valid, chance);
        return this.one({ bytes: change.bytes, until: change.at,
                          list: pieces(change.bytes, chance),
                          aborts: chance.once(40),
                          about: change.kinds.join(' ') });
    }

    /* Runs makers in lanes until they end. */
    async lanes(next)
    {
        const lane = async () => {
            for (let job = next(); job; job = next())
                await job();
        };
        await Promise.all(Array.from({ length: LANES }, lane));
    }

    /* What holds over all streams. */
    async check()
    {
        const { gateway, witnesses } = this;
        let metrics;
        try {
            metrics = await gateway.metrics();
        } catch (error) {
            this.#mismatch(`sidgate is gone: ${error.message}\n` +
                gateway.stderr().slice(-4000), Buffer.alloc(0));
            return;
        }
        this.rss = Math.max(this.rss, statusBytes(gateway.pid, 'VmRSS'));
        for (const witness of witnesses) {
            for (const error of witness.errors.splice(0))
                this.#mismatch(error, Buffer.alloc(0));
            const sent = metrics.get(
                `sidgate_backend_requests_total{backend="${witness.id}"}`);
            const lost = sent - witness.heads;
            if (lost < 0 || lost > this.sums.streams / 40 + 10)
                this.#mismatch(`${witness.id}: sidgate sent ${sent}, ` +
                    `${witness.heads} came`, Buffer.alloc(0));
        }
        const open = metrics.get('sidgate_connections');
        if (open > LANES)
            this.#mismatch(`${open} connections are left`, Buffer.alloc(0));
    }

    async stop()
    {
        const { gateway } = this;
        await this.check();
        const end = await gateway.stop();
        for (const witness of this.witnesses) {
            await witness.stop();
            for (const error of witness.errors.splice(0))
                this.#mismatch(error, Buffer.alloc(0));
        }
        if (end.code !== 0 || /Sanitizer|runtime error/.test(gateway.stderr()))
            this.#mismatch(`sidgate ended with ${JSON.stringify(end)}\n` +
                gateway.stderr().slice(-8000), Buffer.alloc(0));
    }
}
