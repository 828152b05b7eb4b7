/* SPDX-License-Identifier: MIT */
/* Where a master is, in the words of a Sentinel: hostile until read. */
#include "store/sentinel_text.h"
#include "store/url.h"

#include <hiredis/hiredis.h>
#include <string.h>

struct word {
    const char *text;
    size_t len;
};

static bool read_address(struct word host, struct word port,
                         struct store_address *address)
{
    unsigned number = 0;

    if (!store_host_is_plain(host.text, host.len) || port.len == 0 ||
        port.len > 5)
        return false;
    for (size_t i = 0; i < port.len; i++) {
        if (port.text[i] < '0' || port.text[i] > '9')
            return false;
        number = number * 10 + (unsigned)(port.text[i] - '0');
    }
    if (number < 1 || number > 65535)
        return false;
    *address = (struct store_address){.port = (uint16_t)number};
    memcpy(address->host, host.text, host.len);
    return true;
}

/* Empty, and so no host and no port, where it is something else. */
static struct word word_of(const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_STRING)
        return (struct word){"", 0};
    return (struct word){reply->str, reply->len};
}

const char *store_sentinel_read_answer(const redisReply *reply,
                                       struct store_address *address)
{
    if (reply == NULL)
        return "it does not answer";
    if (reply->type == REDIS_REPLY_ERROR)
        return strncmp(reply->str, "NOPERM", 6) == 0
                   ? "no permission for SENTINEL GET-MASTER-ADDR-BY-NAME"
                   : "it answers with an error";
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
        read_address(word_of(reply->element[0]), word_of(reply->element[1]),
                     address))
        return NULL;
    return "its answer makes no sense";
}

bool store_sentinel_read_message(const char *master, const char *bytes,
                                 size_t len, struct store_address *address)
{
    enum { OLD_HOST, OLD_PORT, HOST, PORT, COUNT };
    const size_t name_len = strlen(master);
    const char *end = bytes + len;
    struct word words[COUNT];
    size_t count = 0;

    if (len <= name_len || memcmp(bytes, master, name_len) != 0 ||
        bytes[name_len] != ' ')
        return false;
    /* At the space before a word. */
    const char *at = bytes + name_len;
    while (at < end && count < COUNT) {
        const char *word = at + 1;
        const char *space = memchr(word, ' ', (size_t)(end - word));
        at = space != NULL ? space : end;
        words[count++] = (struct word){word, (size_t)(at - word)};
    }
    if (count != COUNT || at != end ||
        !read_address(words[HOST], words[PORT], address))
        address->port = 0;
    return true;
}
