/* SPDX-License-Identifier: MIT */
/* Hexadecimal digits, for the escapes that eio undoes. */
#ifndef SIDGATE_EIO_HEX_H
#define SIDGATE_EIO_HEX_H

/* The digit's value, or -1 if it is none. */
static inline int eio_hex_value(unsigned char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

#endif
