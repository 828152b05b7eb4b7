/* SPDX-License-Identifier: MIT */
/* promtool, and what a scrape, rules and a dashboard are made of. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = new URL('../../', import.meta.url);

export const pathOf = (name) => fileURLToPath(new URL(name, root));
export const readText = (name) => readFileSync(pathOf(name), 'utf8');

/* Where scripts/get-tools.sh puts it, unless it is installed. */
const env = { ...process.env,
              PATH: `${process.env.PATH}:${pathOf('build/tools/bin')}` };

/* With `isQuiet` it must find nothing to say. */
export function promtool(args, { input, isQuiet } = {})
{
    const { status, stdout, stderr, error } =
        spawnSync('promtool', args, { input, env, encoding: 'utf8' });
    assert.equal(error, undefined);
    assert.equal(status, 0, stdout + stderr);
    if (isQuiet)
        assert.equal(stdout + stderr, '');
}

/* The families of a scrape: a Map of name to {type, help, series}, where series
 * are Maps of labels. */
export function familiesOf(text)
{
    const families = new Map();
    let family;
    for (const line of text.split('\n').filter((one) => one !== '')) {
        const head = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line);
        if (head && !families.has(head[2]))
            families.set(head[2], family = { series: [] });
        if (head) {
            families.get(head[2])[head[1].toLowerCase()] = head[3];
            continue;
        }
        family.series.push(labelsOf(line));
    }
    return families;
}

/* label="value" pairs of a series or a selector. */
function labelsOf(text)
{
    return new Map([...text.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)]
        .map(([, name, value]) => [name, value]));
}

/* The expressions of the alert rules. */
export function ruleExpressions(name)
{
    const lines = readText(name).split('\n');
    const found = [];
    for (let i = 0; i < lines.length; i++) {
        const [, indent, rest] = /^( *)expr: (.*)$/.exec(lines[i]) ?? [];
        if (rest === undefined)
            continue;
        const parts = rest === '|' ? [] : [rest];
        while (lines[i + 1]?.startsWith(`${indent} `))
            parts.push(lines[++i].trim());
        found.push(parts.join(' '));
    }
    return found;
}

/* Those of a dashboard's panels. */
export function panelExpressions(name)
{
    return JSON.parse(readText(name)).panels.flatMap(
        ({ targets = [] }) => targets.map(({ expr }) => expr));
}

/* What an expression asks for: [{name, labels}], histograms without their
 * suffix. */
export function selectorsOf(expression)
{
    return [...expression.matchAll(
        /\b((?:sidgate|process)_[a-z_]+)(?:\{([^}]*)\})?/g)]
        .map(([, name, labels = '']) => ({
            name: name.replace(/_(bucket|sum|count)$/, ''),
            labels: labelsOf(labels),
        }));
}
