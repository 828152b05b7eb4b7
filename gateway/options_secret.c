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

/* Of Redis or of Sentinels. */
static int read_password(struct gw_reader *reader, const char *option_name,
                         const char *name, char password[STORE_SECRET_MAX])
{
    const struct gw_option *option = gw_option_blame(reader, option_name);
    ssize_t len;

    if (name[0] == '\0')
        return 0;
    len = read_secret(reader, option, name, 1, password);
    if (len < 0)
        return -1;
    if (memchr(password, '\n', (size_t)len) != NULL ||
        memchr(password, '\0', (size_t)len) != NULL)
        return gw_option_fail(reader, option,
                              "%s holds more than one line, or a zero byte",
                              name);
    return 0;
}

static int read_passwords(struct gw_reader *reader)
{
    struct gw_config *config = reader->config;

    if (read_password(reader, "store-password-file",
                      config->store_password_file, config->store_password) != 0)
        return -1;
    return read_password(reader, "sentinel-password-file",
                         config->sentinel_password_file,
                         config->sentinel_password);
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

/* One of the operator listener's. */
static int read_token(struct gw_reader *reader, const char *option_name,
                      const char *name, char token[STORE_SECRET_MAX])
{
    const struct gw_option *option = gw_option_blame(reader, option_name);
    ssize_t len;

    if (name[0] == '\0')
        return 0;
    len = read_secret(reader, option, name, SECRET_MIN, token);
    if (len < 0)
        return -1;
    for (ssize_t i = 0; i < len; i++)
        if (token[i] <= ' ' || token[i] > '~')
            return gw_option_fail(reader, option,
                                  "%s holds more than visible ASCII "
                                  "characters",
                                  name);
    return 0;
}

static int read_tokens(struct gw_reader *reader)
{
    struct gw_config *config = reader->config;

    if (read_token(reader, "admin-token-file", config->admin_token_file,
                   config->admin_token) != 0 ||
        read_token(reader, "admin-read-token-file",
                   config->admin_read_token_file,
                   config->admin_read_token) != 0)
        return -1;
    /* Whoever has it could do more than its file's name says. */
    if (config->admin_read_token[0] != '\0' &&
        strcmp(config->admin_read_token, config->admin_token) == 0)
        return gw_option_fail(reader,
                              gw_option_blame(reader, "admin-read-token-file"),
                              "%s holds the same token as --admin-token-file",
                              config->admin_read_token_file);
    return 0;
}

int gw_options_read_secrets(struct gw_reader *reader)
{
    if (read_passwords(reader) != 0 || read_hash_secret(reader) != 0)
        return -1;
    return read_tokens(reader);
}
