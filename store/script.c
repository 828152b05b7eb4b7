/* SPDX-License-Identifier: MIT */
/*
 * The Lua scripts that run inside Redis.
 *
 * When memory is full Redis refuses a script's first write if it may need
 * more, but lets go on what has begun to write. So a session that is new must
 * be written by HSET first, to be refused; one that is there may be renewed,
 * and a heartbeat (bounded, one for each replica) always goes through.
 *
 * A user may lack the right to PEXPIRE: no session stays without an expiry.
 */
#include "store/script.h"

#include "store/record.h"

#define LUA_NAME(id, name) "'" name "',"

/* Of a hash that another backend holds. */
#define OTHER_RECORD                                                           \
    "return {redis.call('HMGET', KEYS[1], unpack({" STORE_RECORD_FIELDS(       \
        LUA_NAME) "})), redis.call('PTTL', KEYS[1])}\n"

static const char put_script[] =
    "local key, backend, replaces = KEYS[1], ARGV[1], ARGV[2]\n"
    "local life, is_copy = ARGV[3]:match('%d+'), ARGV[3]:find('-', 1, true)\n"
    "local kind = redis.call('TYPE', key).ok\n"
    "local result = 1\n"
    "if kind == 'hash' then\n"
    "  local owner = redis.call('HGET', key, 'backend')\n"
    "  if not owner or owner == '' or #owner > 63 or owner:find('%c') then\n"
    "    result = 3\n"
    "  elseif owner ~= backend and owner ~= replaces then\n"
    "    " OTHER_RECORD "  elseif owner == backend and is_copy then\n"
    "    if redis.call('PTTL', key) < tonumber(life) then\n"
    "      redis.call('PEXPIRE', key, life)\n"
    "    end\n"
    "    return 1\n"
    "  end\n"
    "elseif kind ~= 'none' then\n"
    "  result = 2\n"
    "end\n"
    "if kind ~= 'none' then\n"
    "  redis.call('DEL', key)\n"
    "end\n"
    "redis.call('HSET', key, unpack(ARGV, 4))\n"
    "local expiry = redis.pcall('PEXPIRE', key, life)\n"
    "if type(expiry) == 'table' then\n"
    "  redis.call('DEL', key)\n"
    "  return expiry\n"
    "end\n"
    "return result\n";

/* Begins a script that is for the owner alone. */
#define FOR_OWNER                                                              \
    "local owner = redis.pcall('HGET', KEYS[1], 'backend')\n"                  \
    "if type(owner) ~= 'string' then\n"                                        \
    "  return 0\n"                                                             \
    "end\n"                                                                    \
    "if owner ~= ARGV[1] then\n"                                               \
    "  " OTHER_RECORD "end\n"

static const char touch_script[] = FOR_OWNER
    "local held = redis.call('HMGET', KEYS[1], 'transport', "
    "'gateway')\n"
    "if held[1] == 'websocket' and\n"
    "   (ARGV[6] ~= 'websocket' or (ARGV[8] and held[2] ~= ARGV[8]))\n"
    "then\n"
    "  return 1\n"
    "end\n"
    "redis.call('PEXPIRE', KEYS[1], ARGV[2])\n"
    "redis.pcall('HSET', KEYS[1], unpack(ARGV, 3))\n"
    "return 1\n";

static const char remove_script[] =
    FOR_OWNER "if ARGV[2] and\n"
              "   redis.call('HGET', KEYS[1], 'gateway') ~= ARGV[2] then\n"
              "  return 0\n"
              "end\n"
              "return redis.call('DEL', KEYS[1])\n";

/* The key is never away for a moment: in a slot that is being moved, it would
 * be looked for elsewhere from then on. PEXPIRE comes first since it is allowed
 * when memory is full, and after a write so is HSET. */
static const char beat_script[] =
    "local turn = redis.pcall('HGET', KEYS[1], 'turn')\n"
    "local fields = {'turn', ARGV[2]}\n"
    "local new = {turn = true}\n"
    "for field, value in ARGV[4]:gmatch('([^\\n]*)\\n([^\\n]*)\\n') do\n"
    "  new[field] = true\n"
    "  fields[#fields + 1] = field\n"
    "  fields[#fields + 1] = value\n"
    "end\n"
    "if type(turn) == 'table' then\n"
    "  redis.call('DEL', KEYS[1])\n"
    "end\n"
    "redis.call('PEXPIRE', KEYS[1], ARGV[3])\n"
    "local old = redis.call('HGETALL', KEYS[1])\n"
    "local gone = {}\n"
    "for i = 1, #old, 2 do\n"
    "  if not new[old[i]] then\n"
    "    gone[#gone + 1] = old[i]\n"
    "  end\n"
    "end\n"
    "redis.call('HSET', KEYS[1], unpack(fields))\n"
    "if #gone > 0 then\n"
    "  redis.pcall('HDEL', KEYS[1], unpack(gone))\n"
    "end\n"
    "redis.call('PEXPIRE', KEYS[1], ARGV[3])\n"
    "if type(turn) ~= 'string' or not turn:match('^%d+$') then\n"
    "  return 0\n"
    "end\n"
    "return tonumber(turn) >= tonumber(ARGV[1]) and 1 or 2\n";

_Static_assert(STORE_BACKEND_MAX == 64, "put_script knows this bound");

const char *const store_scripts[STORE_SCRIPT_COUNT] = {
    [STORE_SCRIPT_PUT] = put_script,
    [STORE_SCRIPT_TOUCH] = touch_script,
    [STORE_SCRIPT_REMOVE] = remove_script,
    [STORE_SCRIPT_BEAT] = beat_script,
};
