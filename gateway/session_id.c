/* SPDX-License-Identifier: MIT */
/* What stands for a session. */
#include "gateway/session_id.h"
#include "gateway/grammar.h"
#include "gateway/shared.h"
#include "store/redis.h"

#include <openssl/sha.h>

enum { SHOWN_BYTES = (GW_SESSION_ID_MAX - 1) / 2 };

void gw_session_id_of_key(struct store_key key, char out[GW_SESSION_ID_MAX])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)key.ptr, key.len, digest);
    for (size_t i = 0; i < SHOWN_BYTES; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[GW_SESSION_ID_MAX - 1] = '\0';
}

void gw_session_id(const struct gw_config *config, struct store_key sid,
                   char out[GW_SESSION_ID_MAX])
{
    char hashed[STORE_HASHED_LEN];
    if (config->hash_secret_len > 0) {
        gw_shared_hash(config, sid, hashed);
        sid = (struct store_key){hashed, sizeof(hashed)};
    }
    gw_session_id_of_key(sid, out);
}

bool gw_session_id_is(const char *text, size_t len)
{
    if (len != GW_SESSION_ID_MAX - 1)
        return false;
    for (size_t i = 0; i < len; i++)
        if (gw_hex_digit(text[i]) < 0 || (text[i] >= 'A' && text[i] <= 'F'))
            return false;
    return true;
}
