/* SPDX-License-Identifier: MIT */
/* A small DNS server on loopback. */
#include "tests/unit/dns_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    RECORD_MAX = 1024,
    MODE_MAX = 16,
    COUNT_MAX = 1024,
    NAME_MAX_BYTES = 300,
    MESSAGE_MAX = 65535,
    UDP_MAX = 512,
    HEAD = 12,
    SERVFAIL = 2,
    NXDOMAIN = 3,
    REFUSED = 5,
    TRUNCATED = 0x02,
    IN = 1,
    WAIT_MS = 2000,
    TCP_MAX = 16,
};

struct record {
    char name[NAME_MAX_BYTES];
    uint16_t type;
    uint16_t order[2];
    uint16_t port;
    unsigned char bytes[16];
    char target[NAME_MAX_BYTES];
};

struct mode {
    char name[NAME_MAX_BYTES];
    uint16_t type;
    enum dns_mode mode;
};

struct count {
    char name[NAME_MAX_BYTES];
    uint16_t type;
    unsigned count;
};

struct message {
    unsigned char bytes[MESSAGE_MAX];
    size_t len;
};

struct dns_server {
    pthread_t thread;
    pthread_mutex_t lock;
    struct gw_address address;
    int udp;
    int tcp;
    int end;
    unsigned seed;
    unsigned tcp_count;
    int conns[TCP_MAX]; /* -1: none */
    struct record records[RECORD_MAX];
    size_t record_count;
    struct mode modes[MODE_MAX];
    size_t mode_count;
    struct count counts[COUNT_MAX];
    size_t count_count;
    struct message out;
};

/* ---- messages ---- */

static void put8(struct message *message, unsigned value)
{
    if (message->len < sizeof(message->bytes))
        message->bytes[message->len++] = (unsigned char)value;
}

static void put16(struct message *message, unsigned value)
{
    put8(message, value >> 8);
    put8(message, value & 0xff);
}

static void put_bytes(struct message *message, const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        put8(message, ((const unsigned char *)bytes)[i]);
}

static void put_name(struct message *message, const char *name)
{
    while (*name != '\0') {
        size_t len = strcspn(name, ".");
        put8(message, (unsigned)len);
        put_bytes(message, name, len);
        name += len;
        name += *name == '.';
    }
    put8(message, 0);
}

/* The question's name as text; where its type begins, or 0. */
static size_t read_name(const unsigned char *bytes, size_t len, char *out)
{
    size_t at = HEAD;
    size_t end = 0;
    while (at < len && bytes[at] != 0) {
        size_t label = bytes[at++];
        if (label > 63 || at + label > len || end + label + 2 > NAME_MAX_BYTES)
            return 0;
        memcpy(out + end, bytes + at, label);
        end += label;
        at += label;
        out[end++] = '.';
    }
    out[end > 0 ? end - 1 : 0] = '\0';
    return at + 5 <= len ? at + 1 : 0;
}

static void put_record(struct message *message, const struct record *record)
{
    struct message data = {.len = 0};
    if (record->type == DNS_SRV) {
        put16(&data, record->order[0]);
        put16(&data, record->order[1]);
        put16(&data, record->port);
        put_name(&data, record->target);
    } else {
        put_bytes(&data, record->bytes, record->type == DNS_A ? 4 : 16);
    }
    put16(message, 0xc000 | HEAD); /* the name is the question's */
    put16(message, record->type);
    put16(message, IN);
    put16(message, 0);
    put16(message, 5);
    put16(message, (unsigned)data.len);
    put_bytes(message, data.bytes, data.len);
}

static enum dns_mode mode_of(const struct dns_server *server, const char *name,
                             uint16_t type)
{
    for (size_t i = server->mode_count; i > 0; i--) {
        const struct mode *mode = &server->modes[i - 1];
        if (strcasecmp(mode->name, name) == 0 &&
            (mode->type == 0 || mode->type == type))
            return mode->mode;
    }
    return DNS_ANSWERS;
}

static void note_question(struct dns_server *server, const char *name,
                          uint16_t type)
{
    for (size_t i = 0; i < server->count_count; i++) {
        struct count *one = &server->counts[i];
        if (one->type == type && strcasecmp(one->name, name) == 0) {
            one->count++;
            return;
        }
    }
    if (server->count_count == COUNT_MAX)
        return;
    struct count *one = &server->counts[server->count_count++];
    snprintf(one->name, sizeof(one->name), "%s", name);
    one->type = type;
    one->count = 1;
}

static void put_records(const struct dns_server *server, const char *name,
                        uint16_t type, struct message *out)
{
    unsigned count = 0;
    bool is_there = false;
    for (size_t i = 0; i < server->record_count; i++) {
        const struct record *record = &server->records[i];
        if (strcasecmp(record->name, name) != 0)
            continue;
        is_there = true;
        if (record->type != type)
            continue;
        put_record(out, record);
        count++;
    }
    out->bytes[3] = is_there ? 0 : NXDOMAIN;
    out->bytes[6] = (unsigned char)(count >> 8);
    out->bytes[7] = (unsigned char)count;
}

static void put_junk(struct dns_server *server, struct message *out)
{
    size_t len = rand_r(&server->seed) % 200;
    for (size_t i = 0; i < len; i++)
        put8(out, (unsigned)rand_r(&server->seed) & 0xff);
    out->bytes[7] = (unsigned char)(1 + rand_r(&server->seed) % 20);
}

/* False: there is none. */
static bool answer(struct dns_server *server, const unsigned char *bytes,
                   size_t len, struct message *out)
{
    char name[NAME_MAX_BYTES];
    size_t at = len > HEAD ? read_name(bytes, len, name) : 0;
    if (at == 0)
        return false;
    uint16_t type = (uint16_t)(bytes[at] << 8 | bytes[at + 1]);
    enum dns_mode mode = mode_of(server, name, type);
    note_question(server, name, type);
    memset(out->bytes, 0, HEAD);
    out->len = 0;
    put_bytes(out, bytes, at + 4);
    out->bytes[2] = 0x84;
    out->bytes[3] = 0;
    memset(out->bytes + 6, 0, 6);
    size_t question = out->len;
    switch (mode) {
    case DNS_SILENT:
        return false;
    case DNS_SERVFAIL:
        out->bytes[3] = SERVFAIL;
        return true;
    case DNS_REFUSED:
        out->bytes[3] = REFUSED;
        return true;
    case DNS_JUNK:
        put_junk(server, out);
        return true;
    case DNS_ANSWERS:
    case DNS_TRUNCATES:
    case DNS_CUT:
        put_records(server, name, type, out);
    }
    if (mode == DNS_CUT && out->len > question)
        out->len -= 1 + rand_r(&server->seed) % (out->len - question);
    return true;
}

/* ---- sockets ---- */

static bool truncates(struct dns_server *server, const unsigned char *bytes,
                      size_t len)
{
    char name[NAME_MAX_BYTES];
    size_t at = read_name(bytes, len, name);
    return mode_of(server, name, (uint16_t)(bytes[at] << 8 | bytes[at + 1])) ==
           DNS_TRUNCATES;
}

static void serve_udp(struct dns_server *server)
{
    struct message *out = &server->out;
    unsigned char bytes[UDP_MAX];
    struct sockaddr_storage peer;
    socklen_t peer_len = sizeof(peer);
    ssize_t len = recvfrom(server->udp, bytes, sizeof(bytes), 0,
                           (struct sockaddr *)&peer, &peer_len);
    if (len <= 0 || !answer(server, bytes, (size_t)len, out))
        return;
    if (out->len > UDP_MAX || truncates(server, bytes, (size_t)len)) {
        out->len = out->len > UDP_MAX ? UDP_MAX : out->len;
        out->bytes[2] |= TRUNCATED;
    }
    if (sendto(server->udp, out->bytes, out->len, 0, (struct sockaddr *)&peer,
               peer_len) < 0)
        perror("sendto");
}

static bool receive(int fd, unsigned char *bytes, size_t len)
{
    while (len > 0) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        ssize_t got =
            poll(&ready, 1, WAIT_MS) == 1 ? recv(fd, bytes, len, 0) : -1;
        if (got <= 0)
            return false;
        bytes += got;
        len -= (size_t)got;
    }
    return true;
}

static void accept_tcp(struct dns_server *server)
{
    size_t i = 0;
    int fd = accept(server->tcp, NULL, NULL);
    while (i < TCP_MAX && server->conns[i] >= 0)
        i++;
    if (fd < 0 || i == TCP_MAX)
        abort();
    server->conns[i] = fd;
    server->tcp_count++;
}

/* One question; false at the end of the connection. */
static bool serve_tcp(struct dns_server *server, int fd)
{
    struct message *out = &server->out;
    unsigned char size[2];
    unsigned char bytes[UDP_MAX];
    if (!receive(fd, size, 2))
        return false;
    size_t len = (size_t)size[0] << 8 | size[1];
    if (len > sizeof(bytes) || !receive(fd, bytes, len))
        return false;
    if (!answer(server, bytes, len, out))
        return true;
    size[0] = (unsigned char)(out->len >> 8);
    size[1] = (unsigned char)out->len;
    return send(fd, size, 2, MSG_NOSIGNAL | MSG_MORE) == 2 &&
           send(fd, out->bytes, out->len, MSG_NOSIGNAL) == (ssize_t)out->len;
}

static void serve(struct dns_server *server, const struct pollfd *ready)
{
    if (ready[1].revents != 0)
        serve_udp(server);
    for (size_t i = 0; i < TCP_MAX; i++) {
        if (ready[3 + i].revents == 0 || serve_tcp(server, server->conns[i]))
            continue;
        close(server->conns[i]);
        server->conns[i] = -1;
    }
    if (ready[2].revents != 0)
        accept_tcp(server);
}

static void *run(void *arg)
{
    struct dns_server *server = arg;
    for (;;) {
        struct pollfd ready[3 + TCP_MAX] = {
            {.fd = server->end, .events = POLLIN},
            {.fd = server->udp, .events = POLLIN},
            {.fd = server->tcp, .events = POLLIN}};
        for (size_t i = 0; i < TCP_MAX; i++)
            ready[3 + i] =
                (struct pollfd){.fd = server->conns[i], .events = POLLIN};
        poll(ready, 3 + TCP_MAX, -1);
        if (ready[0].revents != 0)
            return NULL;
        pthread_mutex_lock(&server->lock);
        serve(server, ready);
        pthread_mutex_unlock(&server->lock);
    }
}

/* Both on one port, which another process may just have taken. */
static bool bind_both(struct dns_server *server)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    server->udp = socket(AF_INET, SOCK_DGRAM, 0);
    server->tcp = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(server->tcp, (struct sockaddr *)&at, len) == 0 &&
        getsockname(server->tcp, (struct sockaddr *)&at, &len) == 0 &&
        bind(server->udp, (struct sockaddr *)&at, len) == 0 &&
        listen(server->tcp, 64) == 0) {
        memcpy(&server->address.addr, &at, sizeof(at));
        server->address.addr_len = sizeof(at);
        return true;
    }
    close(server->udp);
    close(server->tcp);
    return false;
}

struct dns_server *dns_server_start(void)
{
    struct dns_server *server = calloc(1, sizeof(*server));
    bool is_bound = false;
    for (int i = 0; i < 20 && !is_bound; i++)
        is_bound = bind_both(server);
    server->end = eventfd(0, EFD_CLOEXEC);
    server->seed = 1;
    memset(server->conns, -1, sizeof(server->conns));
    pthread_mutex_init(&server->lock, NULL);
    if (!is_bound || pthread_create(&server->thread, NULL, run, server) != 0)
        abort();
    return server;
}

void dns_server_stop(struct dns_server *server)
{
    uint64_t one = 1;
    if (write(server->end, &one, sizeof(one)) != sizeof(one))
        abort();
    pthread_join(server->thread, NULL);
    pthread_mutex_destroy(&server->lock);
    for (size_t i = 0; i < TCP_MAX; i++)
        if (server->conns[i] >= 0)
            close(server->conns[i]);
    close(server->udp);
    close(server->tcp);
    close(server->end);
    free(server);
}

struct gw_address dns_server_address(const struct dns_server *server)
{
    return server->address;
}

/* ---- records ---- */

void dns_server_clear(struct dns_server *server)
{
    pthread_mutex_lock(&server->lock);
    server->record_count = 0;
    server->mode_count = 0;
    pthread_mutex_unlock(&server->lock);
}

static struct record *new_record(struct dns_server *server, const char *name,
                                 uint16_t type)
{
    if (server->record_count == RECORD_MAX)
        abort();
    struct record *record = &server->records[server->record_count++];
    memset(record, 0, sizeof(*record));
    snprintf(record->name, sizeof(record->name), "%s", name);
    record->type = type;
    return record;
}

void dns_server_add(struct dns_server *server, const char *name,
                    const char *address)
{
    bool is_v6 = strchr(address, ':') != NULL;
    pthread_mutex_lock(&server->lock);
    struct record *record = new_record(server, name, is_v6 ? DNS_AAAA : DNS_A);
    if (inet_pton(is_v6 ? AF_INET6 : AF_INET, address, record->bytes) != 1)
        abort();
    pthread_mutex_unlock(&server->lock);
}

void dns_server_add_srv(struct dns_server *server, const char *name,
                        const char *target, uint16_t port,
                        const uint16_t order[2])
{
    pthread_mutex_lock(&server->lock);
    struct record *record = new_record(server, name, DNS_SRV);
    snprintf(record->target, sizeof(record->target), "%s", target);
    record->port = port;
    record->order[0] = order[0];
    record->order[1] = order[1];
    pthread_mutex_unlock(&server->lock);
}

void dns_server_set_mode(struct dns_server *server, const char *name,
                         uint16_t type, enum dns_mode mode)
{
    pthread_mutex_lock(&server->lock);
    size_t i = 0;
    while (i < server->mode_count &&
           (server->modes[i].type != type ||
            strcasecmp(server->modes[i].name, name) != 0))
        i++;
    if (i == MODE_MAX)
        abort();
    if (i == server->mode_count)
        server->mode_count++;
    struct mode *one = &server->modes[i];
    snprintf(one->name, sizeof(one->name), "%s", name);
    one->type = type;
    one->mode = mode;
    pthread_mutex_unlock(&server->lock);
}

unsigned dns_server_count(struct dns_server *server, const char *name,
                          uint16_t type)
{
    unsigned count = 0;
    pthread_mutex_lock(&server->lock);
    for (size_t i = 0; i < server->count_count; i++)
        if (strcasecmp(server->counts[i].name, name) == 0 &&
            (type == 0 || server->counts[i].type == type))
            count += server->counts[i].count;
    pthread_mutex_unlock(&server->lock);
    return count;
}

unsigned dns_server_count_tcp(struct dns_server *server)
{
    pthread_mutex_lock(&server->lock);
    unsigned count = server->tcp_count;
    pthread_mutex_unlock(&server->lock);
    return count;
}
