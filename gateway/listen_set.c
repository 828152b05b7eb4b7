/* SPDX-License-Identifier: MIT */
/* The sockets that the process listens on, over all workers. */
#include "gateway/listen_set.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct gw_listen_entry *gw_listen_find(struct gw_listen_set *set,
                                       const char *text)
{
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->entries[i].config.address.text, text) == 0)
            return &set->entries[i];
    return NULL;
}

static struct gw_listen_entry *entry_add(struct gw_listen_set *set,
                                         const struct gw_listen_config *config)
{
    if (set->count == GW_LISTEN_COUNT_MAX)
        return NULL;
    struct gw_listen_entry *entry = &set->entries[set->count++];
    memset(entry, 0, sizeof(*entry));
    entry->config = *config;
    return entry;
}

bool gw_listen_give(struct gw_listen_set *given, const char *text, int fd,
                    bool is_foreign)
{
    struct gw_listen_entry *entry = gw_listen_find(given, text);
    struct gw_listen_config config = {0};
    snprintf(config.address.text, sizeof(config.address.text), "%s", text);
    if (entry == NULL)
        entry = entry_add(given, &config);
    if (entry == NULL || entry->count == GW_LISTEN_FDS_MAX)
        return false;
    entry->fds[entry->count++] = fd;
    entry->is_foreign = is_foreign;
    return true;
}

static void entry_close(struct gw_listen_entry *entry)
{
    for (size_t i = 0; i < entry->count; i++)
        close(entry->fds[i]);
    entry->count = 0;
}

/* ---- opening ---- */

/* A bound socket, or -1 with errno. */
static int bound_socket(const struct gw_address *address, bool is_shared)
{
    int on = 1;
    int fd = socket(address->addr.ss_family,
                    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if ((is_shared &&
         setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0) ||
        bind(fd, (const struct sockaddr *)&address->addr, address->addr_len) <
            0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static bool has_port(const struct gw_address *address)
{
    if (address->addr.ss_family == AF_INET6)
        return ((const struct sockaddr_in6 *)(const void *)&address->addr)
                   ->sin6_port != 0;
    return ((const struct sockaddr_in *)(const void *)&address->addr)
               ->sin_port != 0;
}

static void note_address(struct gw_listen_entry *entry, int fd)
{
    struct gw_address *address = &entry->config.address;
    address->addr_len = sizeof(address->addr);
    getsockname(fd, (struct sockaddr *)&address->addr, &address->addr_len);
}

/* One socket for all workers: copies of its descriptor. */
static int share(struct gw_listen_entry *entry, size_t workers)
{
    entry->is_shared = true;
    while (entry->count < workers) {
        int fd = fcntl(entry->fds[0], F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            return errno;
        entry->fds[entry->count++] = fd;
    }
    return 0;
}

static int open_unix(struct gw_listen_entry *entry, size_t workers)
{
    int fd = gw_unix_bind(&entry->config.address, entry->config.unix_mode,
                          &entry->file);
    if (fd < 0)
        return errno;
    entry->fds[entry->count++] = fd;
    return listen(fd, GW_LISTEN_BACKLOG) < 0 ? errno : share(entry, workers);
}

/* One of its own for each worker. */
static int open_rest(struct gw_listen_entry *entry, size_t workers,
                     bool listens)
{
    while (entry->count < workers) {
        int fd = bound_socket(&entry->config.address, true);
        if (fd < 0)
            return errno;
        entry->fds[entry->count++] = fd;
        if (listens && listen(fd, GW_LISTEN_BACKLOG) < 0)
            return errno;
    }
    return 0;
}

static int open_entry(struct gw_listen_entry *entry, size_t workers)
{
    const struct gw_address *address = &entry->config.address;
    if (gw_unix_is(address))
        return open_unix(entry, workers);
    /* A port of the kernel's choice is nobody else's; but it could become so
     * between this socket and the workers'. */
    bool is_chosen = !has_port(address);
    int held = bound_socket(address, is_chosen);
    if (held < 0)
        return errno;
    int error = !is_chosen && listen(held, 1) < 0 ? errno : 0;
    note_address(entry, held);
    if (!is_chosen)
        close(held);
    if (error == 0)
        error = open_rest(entry, workers, true);
    if (is_chosen)
        close(held);
    return error;
}

/* Sockets of another process: all are used, also where there are more of them
 * than workers, since each has a queue of its own. */
static int take_given(struct gw_listen_entry *entry,
                      struct gw_listen_entry *given, size_t workers)
{
    int is_own = 0;
    socklen_t len = sizeof(is_own);
    struct stat file;
    memcpy(entry->fds, given->fds, sizeof(entry->fds));
    entry->count = given->count;
    given->count = 0;
    entry->is_given = true;
    note_address(entry, entry->fds[0]);
    for (size_t i = 0; i < entry->count; i++)
        fcntl(entry->fds[i], F_SETFL,
              fcntl(entry->fds[i], F_GETFL) | O_NONBLOCK);
    entry->is_foreign = given->is_foreign;
    if (!entry->is_foreign && gw_unix_is(&entry->config.address) &&
        stat(gw_unix_path(&entry->config.address), &file) == 0)
        entry->file = (struct gw_unix_file){file.st_dev, file.st_ino};
    getsockopt(entry->fds[0], SOL_SOCKET, SO_REUSEPORT, &is_own, &len);
    /* Those that are added listen when this process does: until then, what the
     * kernel gave them would wait here, or be lost with this process. */
    if (is_own && open_rest(entry, workers, false) == 0)
        return 0;
    return share(entry, workers); /* such as another user's */
}

static void entry_discard(struct gw_listen_entry *entry)
{
    if (!entry->is_given && entry->file.inode != 0)
        gw_unix_remove(&entry->config.address, &entry->file);
    entry_close(entry);
}

static bool prepare_one(struct gw_listen_set *next, struct gw_listen_set *now,
                        struct gw_listen_set *given,
                        const struct gw_listen_config *config, size_t workers,
                        char error[256])
{
    const char *text = config->address.text;
    struct gw_listen_entry *known = gw_listen_find(now, text);
    struct gw_listen_entry *gift = given ? gw_listen_find(given, text) : NULL;
    struct gw_listen_entry *entry = entry_add(next, config);
    int status;
    if (known != NULL) {
        *entry = *known;
        entry->config = *config;
        entry->config.address = known->config.address;
        return true;
    }
    if (gift != NULL && gift->count > 0)
        status = take_given(entry, gift, workers);
    else
        status = open_entry(entry, workers);
    if (status == 0)
        return true;
    snprintf(error, 256, "cannot listen on %s: %s", text, strerror(status));
    entry_discard(entry);
    next->count--;
    return false;
}

bool gw_listen_prepare(struct gw_listen_set *next, struct gw_listen_set *now,
                       struct gw_listen_set *given, struct gw_config *config,
                       char error[256])
{
    next->count = 0;
    for (size_t i = 0; i < config->listen_count; i++) {
        if (!prepare_one(next, now, given, &config->listen[i], config->workers,
                         error)) {
            gw_listen_discard(next, now);
            return false;
        }
        config->listen[i].address = next->entries[i].config.address;
    }
    return true;
}

void gw_listen_discard(struct gw_listen_set *next, struct gw_listen_set *now)
{
    for (size_t i = 0; i < next->count; i++) {
        struct gw_listen_entry *entry = &next->entries[i];
        if (gw_listen_find(now, entry->config.address.text) != NULL)
            continue;
        entry_discard(entry);
    }
    next->count = 0;
}

void gw_listen_close(struct gw_listen_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        entry_close(&set->entries[i]);
    set->count = 0;
}

void gw_listen_set_modes(struct gw_listen_set *now, struct gw_listen_set *next)
{
    for (size_t i = 0; i < next->count; i++) {
        struct gw_listen_entry *entry = &next->entries[i];
        const struct gw_listen_entry *known =
            gw_listen_find(now, entry->config.address.text);
        if (known != NULL && gw_unix_is(&entry->config.address) &&
            !entry->is_foreign &&
            known->config.unix_mode != entry->config.unix_mode)
            gw_unix_set_mode(&entry->config.address, entry->config.unix_mode,
                             &entry->file);
    }
}

void gw_listen_unlink(struct gw_listen_set *set, struct gw_listen_set *next)
{
    for (size_t i = 0; i < set->count; i++) {
        struct gw_listen_entry *entry = &set->entries[i];
        if (gw_unix_is(&entry->config.address) && !entry->is_foreign &&
            (next == NULL ||
             gw_listen_find(next, entry->config.address.text) == NULL))
            gw_unix_remove(&entry->config.address, &entry->file);
    }
}
