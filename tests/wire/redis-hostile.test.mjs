/* SPDX-License-Identifier: MIT */
/* A Redis that lies, mumbles or says nothing. */

import { describe } from 'node:test';

import { each, hostileFixture, says } from '../support/hostile.mjs';
import { array, bulk } from '../support/resp.mjs';

const OPTIONS = { concurrency: 6 };

hostileFixture();

const TALK = {
    'garbage': says('\x00\xff\x80garbage\r\n\r\n'),
    'HTTP': says('HTTP/1.1 400 Bad Request\r\n\r\n'),
    'half a reply and silence': says('$100\r\nabc'),
    'half an array and silence': says('*10\r\n$1\r\na\r\n'),
    'half a reply and the end': (fake) => {
        fake.answer = ({ isSetup, wire }) => {
            if (isSetup)
                return undefined;
            wire.socket.end('$100\r\nabc');
            return null;
        };
    },
    'silence': says(null),
    'silence to scripts alone': (fake) => {
        fake.answer = ({ name }) => name.startsWith('EVAL') ? null : undefined;
    },
    'a reset': (fake) => {
        fake.answer = ({ isSetup, wire }) => {
            if (isSetup)
                return undefined;
            wire.reset();
            return null;
        };
    },
    'slow bytes': (fake) => {
        fake.dripMs = 20;
    },
    'each answer 1 s late': (fake) => {
        fake.answer = async ({ right }) => {
            const bytes = right();
            await new Promise((resolve) => setTimeout(resolve, 1000));
            return bytes;
        };
    },
    'each answer twice': (fake) => {
        fake.answer = async ({ right, isSetup }) => {
            const bytes = isSetup ? undefined : await right();
            return bytes && Buffer.concat([bytes, bytes]);
        };
    },
    'an endless line': says(`+${'x'.repeat(3_000_000)}`),
    'an endless string': says(`$3000000\r\n${'x'.repeat(3_000_000)}\r\n`),
};

const ERRORS = ['ERR', 'ERR unknown command', 'OOM command not allowed',
                'WRONGTYPE Operation', 'LOADING Redis is loading',
                'READONLY You can\'t write', 'MOVED 3999 127.0.0.1:6381',
                'ASK 3999 127.0.0.1:6381', 'CLUSTERDOWN Hash slot not served',
                'NOAUTH Authentication required.', 'MASTERDOWN Link',
                'BUSY Redis is busy', 'NOPERM this user has no permissions',
                'NOSCRIPT No matching script', 'MISCONF Redis is configured',
                '', `ERR ${'x'.repeat(100_000)}`, 'ERR \x1b[31m\x00\x07'];

const LENGTHS = ['$2147483647\r\n', '$9223372036854775807\r\n', '$-5\r\n',
                 '$99999999999999999999999\r\n', '$abc\r\n', '$\r\n',
                 '*2147483647\r\n', '*9223372036854775807\r\n', '*-5\r\n',
                 '*4294967297\r\n', '*1000000\r\n', ':abc\r\n', ':\r\n',
                 ':99999999999999999999999\r\n', `${'*1\r\n'.repeat(1000)}`,
                 '*0\r\n', '>2\r\n+a\r\n+b\r\n', '%1\r\n+a\r\n+b\r\n',
                 '_\r\n', '#t\r\n', ',1.5\r\n', '(1\r\n', '\r\n'];

const PUSHES = ['+OK\r\n', '-ERR\r\n', ':1\r\n', '$-1\r\n', '>1\r\n+x\r\n',
                array(bulk('message'), bulk('sidgate:control'),
                      bulk('kick x')),
                array(bulk('message'), bulk('other'), bulk('drain n1')),
                array(bulk('message'), '$-1\r\n', '$-1\r\n'),
                array(bulk('message')), array(':1\r\n', ':2\r\n', ':3\r\n'),
                array(bulk('message'), bulk('sidgate:control'),
                      bulk('x'.repeat(500_000))),
                '\x00'.repeat(100_000)];

describe('answers', OPTIONS, () => {
    each('all are', TALK);
    each('an error', ERRORS, (text) => says(`-${text}\r\n`));
    each('a length', LENGTHS, says);
});

describe('bytes that nobody asked for', OPTIONS, () => {
    each('a connection says', PUSHES, (bytes) => (fake) => fake.say(bytes), 2);
});
