/* SPDX-License-Identifier: MIT */
/* The files that hold secrets. */
#include "gateway/options_parse.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { SECRET_MIN = 16 };

/* A file's content without one newline at its end, of `least` bytes or more.
 * Returns the length, or -1 when a line says what is wrong. */
static ssize_t read_secret(struct gw_reader *reader,
                           const struct gw_option *option, const char *name,
                           ssize_t least, char secret[STORE_SECRET_MAX])
{
    /* The newline, and one byte to tell a longer file by. */
    char text[STORE_SECRET_MAX + 1];
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t len = -1;

    if (fd >= 0)
        len = gw_options_read_all(fd, text, sizeof(text));
    if (len < 0)
        gw_option_fail(reader, option, "%s: cannot be read: %s", name,
                       strerror(errno));
    if (fd >= 0)
        close(fd);
    if (len > 0 && text[len - 1] == '\n')
        len--;
    if (len == 0)
        len = gw_option_fail(reader, option, "%s is empty", name);
    else if (len >= STORE_SECRET_MAX)
        len = gw_option_fail(reader, option, "%s is longer than %d bytes", name,
                             STORE_SECRET_MAX - 1);
    else if (len > 0 && len < least)
        len = gw_option_fail(reader, option, "%s is shorter than %zd bytes",
                             name, least);
    if (len > 0) {
        memcpy(secret, text, (size_t)len);
        secret[len] = '\0';
    }
    explicit_bzero(text, sizeof(text));
    return len;
}

static int read_password(struct gw_reader *reader)
{
    struct gw_config *config = reader->config;
    const struct gw_option *option =
        gw_option_blame(reader, "store-password-file");
    const char *name = config->store_password_file;
    ssize_t len;

    if (name[0] == '\0')
        return 0;
    len = read_secret(reader, option, name, 1, config->store_password);
    if (len < 0)
        return -1;
    if (memchr(config->store_password, '\n', (size_t)len) != NULL ||
        memchr(config->store_password, '\0', (size_t)len) != NULL)
        return gw_option_fail(reader, option,
                              "%s holds more than one line, or a zero byte",
                              name);
    return 0;
}

static int read_hash_secret(struct gw_reader *reader)
{
    struct gw_config *config = reader->config;
    const struct gw_option *option = gw_option_blame(reader, "hash-sids-file");
    const char *name = config->hash_sids_file;
    ssize_t len;

    if (name[0] == '\0')
        return 0;
    len = read_secret(reader, option, name, SECRET_MIN,
                      (char *)config->hash_secret);
    if (len < 0)
        return -1;
    config->hash_secret_len = (size_t)len;
    return 0;
}

static int read_token(struct gw_reader *reader)
{
    struct gw_config *config = reader->config;
    const struct gw_option *option =
        gw_option_blame(reader, "admin-token-file");
    const char *name = config->admin_token_file;
    ssize_t len;

    if (name[0] == '\0')
        return 0;
    len = read_secret(reader, option, name, SECRET_MIN, config->admin_token);
    if (len < 0)
        return -1;
    for (ssize_t i = 0; i < len; i++)
        if (config->admin_token[i] <= ' ' || config->admin_token[i] > '~')
            return gw_option_fail(reader, option,
                                  "%s holds more than visible ASCII "
                                  "characters",
                                  name);
    return 0;
}

int gw_options_read_secrets(struct gw_reader *reader)
{
    if (read_password(reader) != 0 || read_hash_secret(reader) != 0)
        return -1;
    return read_token(reader);
}
