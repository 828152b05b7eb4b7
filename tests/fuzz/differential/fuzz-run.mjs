/* SPDX-License-Identifier: MIT */
/* Streams through a gateway in lanes, and what holds over all of them. */

import { statusBytes } from '../../support/process.mjs';

const LANES = 8;

export class FuzzRun {
    rss = 0;
    sums = { streams: 0, requests: 0, refusals: 0, mismatches: 0 };

    /* `report(why, about)`: a mismatch; `about` says in what, or is empty. */
    constructor(report)
    {
        this.report = report;
    }

    mismatch(why, about = [])
    {
        this.sums.mismatches++;
        this.report(why, about);
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

    takeErrors()
    {
        for (const backend of this.backends)
            for (const error of backend.errors.splice(0))
                this.mismatch(error);
    }

    /* Gives the gateway's metrics, null if it is gone. */
    async check()
    {
        const { gateway } = this;
        let metrics;
        try {
            metrics = await gateway.metrics();
        } catch (error) {
            this.mismatch(`sidgate is gone: ${error.message}\n` +
                gateway.stderr().slice(-4000));
            return null;
        }
        this.rss = Math.max(this.rss, statusBytes(gateway.pid, 'VmRSS'));
        this.takeErrors();
        const open = metrics.get('sidgate_connections');
        if (open > LANES)
            this.mismatch(`${open} connections are left`);
        return metrics;
    }

    async stop()
    {
        const { gateway } = this;
        await this.check();
        const end = await gateway.stop();
        for (const backend of this.backends)
            await backend.stop();
        this.takeErrors();
        if (end.code !== 0 || /Sanitizer|runtime error/.test(gateway.stderr()))
            this.mismatch(`sidgate ended with ${JSON.stringify(end)}\n` +
                gateway.stderr().slice(-8000));
    }
}
