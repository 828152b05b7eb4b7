/* SPDX-License-Identifier: MIT */
/* A Redis that answers a question with something else, or begins badly, or
 * ends anywhere. */

import { describe } from 'node:test';

import { each, hostileFixture, lookupSays } from '../support/hostile.mjs';
import { array, bulk } from '../support/resp.mjs';

const OPTIONS = { concurrency: 6 };

const NIL = '*-1\r\n';

hostileFixture();

/* What answers one command of the beginning, from the next connection on. */
function beginsWith(command, bytes)
{
    return (fake) => {
        fake.answer = ({ name }) => name === command ? bytes : undefined;
        fake.drop();
    };
}

function record(fields)
{
    const all = { v: '1', backend: 'n1', eio: '4', transport: 'polling',
                  ping_interval: '25000', ping_timeout: '20000',
                  client: '127.0.0.1', gateway: 'gw9.00000000',
                  created: '2026-01-31T12:00:00.123Z',
                  seen: '2026-01-31T12:00:00.123Z', ...fields };
    return array(...Object.values(all).map(bulk));
}

const REPLIES = {
    'a number': ':7\r\n',
    'a status': '+OK\r\n',
    'a nil string': '$-1\r\n',
    'a nil array': NIL,
    'an empty array': '*0\r\n',
    'a short array': array(bulk('1'), bulk('n1')),
    'a long array': array(...Array(3000).fill(bulk('n1'))),
    'nested arrays': array(...Array(10).fill(array(bulk('n1')))),
    'numbers for strings': array(...Array(10).fill(':1\r\n')),
    'an unknown backend': record({ backend: 'n77' }),
    'an address for a backend': record({ backend: '169.254.169.254:80' }),
    'a backend with control bytes': record({ backend: 'n1\r\n\x00' }),
    'a long backend': record({ backend: 'n'.repeat(70_000) }),
    'huge times': record({ ping_interval: '99999999999999999999',
                           ping_timeout: '-7' }),
    'words for numbers': record({ ping_interval: 'NaN', eio: 'x', v: '' }),
    'odd times': record({ created: '0000-00-00T99:99:99Z', seen: '\x00' }),
    'long fields': record({ client: 'x'.repeat(5000),
                            gateway: 'y'.repeat(5000) }),
};

const BEGINNINGS = {
    'no SHA': beginsWith('SCRIPT', bulk('not a sha')),
    'a SHA with junk': beginsWith('SCRIPT', bulk(`${'a'.repeat(39)}\n`)),
    'a SHA of another script': beginsWith('SCRIPT', bulk('a'.repeat(40))),
    'a number for a SHA': beginsWith('SCRIPT', ':1\r\n'),
    'INFO without anything': beginsWith('INFO', bulk('')),
    'INFO of 2 MiB': beginsWith('INFO', bulk('x'.repeat(2 << 20))),
    'INFO with a long run_id': beginsWith('INFO',
        bulk(`run_id:${'f'.repeat(60_000)}\r\n`)),
    'an error to CLIENT': beginsWith('CLIENT', '-ERR unknown command\r\n'),
    'an odd SUBSCRIBE': beginsWith('SUBSCRIBE', array(bulk('x'), ':1\r\n')),
    'a number for SUBSCRIBE': beginsWith('SUBSCRIBE', ':1\r\n'),
    'silence': (fake) => {
        fake.answer = () => null;
        fake.drop();
    },
    'the end at once': (fake) => {
        fake.greet = (wire) => wire.end();
        fake.drop();
    },
    'a reset at once': (fake) => {
        fake.greet = (wire) => wire.reset();
        fake.drop();
    },
    'a greeting': (fake) => {
        fake.greet = (wire) => wire.socket.write('+HELLO\r\n');
        fake.drop();
    },
    'a flood': (fake) => {
        fake.greet = (wire) => wire.socket.write('+OK\r\n'.repeat(200_000));
        fake.drop();
    },
};

describe('answers', OPTIONS, () => {
    each('a lookup gives', REPLIES, lookupSays);
    each('a script gives', REPLIES, (bytes) => (fake) => {
        fake.answer = ({ name }) => name.startsWith('EVAL') ? bytes :
            undefined;
    });
});

describe('beginnings', OPTIONS, () => {
    each('a connection begins with', BEGINNINGS);
});

describe('the end', OPTIONS, () => {
    const places = Array.from({ length: 24 }, (_, i) => 1 + i * i * 2);
    each('after so many bytes', places, (place) => (fake) => {
        fake.cutAt = place;
        fake.drop();
    });
});
