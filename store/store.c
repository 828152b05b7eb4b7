/* SPDX-License-Identifier: MIT */
/*
 * What all implementations of the store share.
 */
#include "store/store.h"

const char *store_status_text(enum store_status status)
{
    switch (status) {
    case STORE_OK:
        return "ok";
    case STORE_NOT_FOUND:
        return "not found";
    case STORE_CONFLICT:
        return "bound to another backend";
    case STORE_UNAVAILABLE:
        return "unavailable";
    case STORE_FULL:
        return "full";
    }
    return "unknown";
}
