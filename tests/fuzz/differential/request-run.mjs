/* SPDX-License-Identifier: MIT */
/* Mutated streams of requests through a gateway to two witnesses. */

import { handshakeRequest } from '../../support/engine.mjs';
import { startGateway } from '../../support/gateway.mjs';
import { exchange } from '../../support/wire.mjs';
import { nextAddress, talk } from './client.mjs';
import { FuzzRun } from './fuzz-run.mjs';
import { mutate, pieces } from './mutate.mjs';
import { judge } from './request-oracle.mjs';
import { stream } from './requests.mjs';
import { Witness } from './witness.mjs';

const SIDS = [['differentialsid0000a1', 'differentialsid0000a2'],
    ['differentialsid0000b1', 'differentialsid0000b2']];

export class RequestRun extends FuzzRun {
    owners = new Map();

    async start()
    {
        this.backends = await Promise.all(SIDS.map((sids, i) =>
            new Witness(`n${i + 1}`, sids).start()));
        SIDS.forEach((sids, i) => sids.forEach((sid) =>
            this.owners.set(sid, `n${i + 1}`)));
        this.gateway = await startGateway({ backends: this.backends,
            args: ['--recovery', 'off', '--log-level', 'error',
                '--balance', 'round-robin'] });
        for (let i = 0; i < 16; i++)
            await exchange(this.gateway.port, handshakeRequest());
        return this;
    }

    /* One stream; `until` is where it may differ from a valid one. */
    async one({ bytes, until, list, aborts = false, about })
    {
        const localAddress = nextAddress();
        const answer = await talk(this.gateway.port, list,
                                  { localAddress, aborts });
        const records = this.backends
            .flatMap((witness) => witness.collect(localAddress))
            .sort((a, b) => a.at - b.at);
        const result = judge({ bytes, answer, records, until, aborts,
                               owners: this.owners });
        this.sums.streams++;
        this.sums.requests += result.requests || 0;
        this.sums.refusals += result.refusals || 0;
        if (result.mismatch)
            this.mismatch(`${result.mismatch} (${about}; answered ` +
                `${JSON.stringify(answer.bytes.toString('latin1'))
                    .slice(0, 600)})`, bytes);
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

    async check()
    {
        const metrics = await super.check();
        if (!metrics)
            return;
        for (const { id, heads } of this.backends) {
            const sent = metrics.get(
                `sidgate_backend_requests_total{backend="${id}"}`);
            const lost = sent - heads;
            if (lost < 0 || lost > this.sums.streams / 40 + 10)
                this.mismatch(`${id}: sidgate sent ${sent}, ${heads} came`);
        }
    }
}
