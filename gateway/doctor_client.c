/* SPDX-License-Identifier: MIT */
/* A client of HTTP and websockets, as simple as can be: one thing at a time,
 * each with a deadline. What comes is hostile until parsed. */
#include "gateway/doctor_private.h"

#include "gateway/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECT_MS = 5000 };

/* ---- the connection ---- */

static bool is_loopback(const struct addrinfo *to)
{
    struct sockaddr_in v4;
    if (to->ai_family != AF_INET)
        return false;
    memcpy(&v4, to->ai_addr, sizeof(v4));
    return (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
}

static bool prepare_tls(struct doctor *doctor, char error[DOCTOR_TEXT_MAX])
{
    doctor->tls = SSL_CTX_new(TLS_client_method());
    if (doctor->tls == NULL ||
        SSL_CTX_set_default_verify_paths(doctor->tls) != 1) {
        snprintf(error, DOCTOR_TEXT_MAX, "OpenSSL cannot start");
        return false;
    }
    SSL_CTX_set_verify(doctor->tls,
                       doctor->is_insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
                       NULL);
    return true;
}

static bool await(int fd, short events, int64_t until_ms)
{
    for (;;) {
        int64_t left_ms = until_ms - gw_now_ms();
        struct pollfd ready = {.fd = fd, .events = events};
        int count = poll(&ready, 1, left_ms > 0 ? (int)left_ms : 0);
        if (count > 0)
            return true;
        if (count == 0) {
            errno = ETIMEDOUT;
            return false;
        }
        if (errno != EINTR)
            return false;
    }
}

/* On loopback any address of 127.0.0.0/8 is at hand. Balancers hash all of it,
 * or all but the last number (nginx's ip_hash): each number changes. */
static bool bind_source(const struct doctor *doctor, int fd, unsigned source)
{
    char text[DOCTOR_TEXT_MAX];
    struct addrinfo *found = NULL;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICHOST};
    if (doctor->source_count > 0)
        snprintf(text, sizeof(text), "%s",
                 doctor->sources[source % doctor->source_count]);
    else if (doctor->is_loopback && source > 0)
        snprintf(text, sizeof(text), "127.%u.%u.%u", 1 + source * 37 % 250,
                 1 + source * 101 % 251, 2 + source % 250);
    else
        return true;
    if (getaddrinfo(text, NULL, &hints, &found) != 0)
        return false;
    /* The port is chosen when it connects: then there are enough of them. */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int));
    bool is_good = bind(fd, found->ai_addr, found->ai_addrlen) == 0;
    int error = errno;
    freeaddrinfo(found);
    errno = error;
    return is_good;
}

static int open_socket(const struct doctor *doctor, unsigned source)
{
    const struct addrinfo *to = doctor->to;
    int error = 0;
    socklen_t len = sizeof(error);
    int fd =
        socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (bind_source(doctor, fd, source) &&
        (connect(fd, to->ai_addr, to->ai_addrlen) == 0 ||
         errno == EINPROGRESS) &&
        await(fd, POLLOUT, gw_now_ms() + CONNECT_MS)) {
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 &&
            error == 0)
            return fd;
        errno = error;
    }
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

static void say_unconnected(const struct doctor *doctor,
                            char error[DOCTOR_TEXT_MAX])
{
    snprintf(error, DOCTOR_TEXT_MAX, "cannot connect to %.150s: %s",
             doctor->authority, strerror(errno));
}

/* One address for all that follows, as a client would have it. */
static bool choose_address(struct doctor *doctor, char error[DOCTOR_TEXT_MAX])
{
    int fd = -1;
    for (const struct addrinfo *to = doctor->found; to != NULL;
         to = to->ai_next) {
        doctor->address_count++;
        if (fd >= 0)
            continue;
        doctor->to = to;
        fd = open_socket(doctor, 0);
    }
    if (fd < 0) {
        say_unconnected(doctor, error);
        return false;
    }
    close(fd);
    doctor->is_loopback = is_loopback(doctor->to);
    return true;
}

bool doctor_prepare(struct doctor *doctor, char error[DOCTOR_TEXT_MAX])
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    int status =
        getaddrinfo(doctor->host, doctor->port, &hints, &doctor->found);
    if (status != 0) {
        snprintf(error, DOCTOR_TEXT_MAX, "%.180s: %s", doctor->host,
                 gai_strerror(status));
        return false;
    }
    return choose_address(doctor, error) &&
           (!doctor->is_tls || prepare_tls(doctor, error));
}

void doctor_release(struct doctor *doctor)
{
    if (doctor->found != NULL)
        freeaddrinfo(doctor->found);
    SSL_CTX_free(doctor->tls);
}

static const char *tls_reason(const SSL *ssl)
{
    long verified = SSL_get_verify_result(ssl);
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    if (verified != X509_V_OK)
        return X509_verify_cert_error_string(verified);
    return reason != NULL ? reason : "the connection was closed";
}

static bool shake_hands(const struct doctor *doctor, struct doctor_conn *conn,
                        char error[DOCTOR_TEXT_MAX])
{
    int64_t until_ms = gw_now_ms() + CONNECT_MS;
    char name[DOCTOR_TEXT_MAX]; /* OpenSSL's macro wants it writable */
    unsigned char address[sizeof(struct in6_addr)];
    bool is_address = inet_pton(AF_INET, doctor->host, address) == 1 ||
                      inet_pton(AF_INET6, doctor->host, address) == 1;
    snprintf(name, sizeof(name), "%s", doctor->host);
    snprintf(error, DOCTOR_TEXT_MAX, "TLS cannot be begun");
    ERR_clear_error();
    conn->ssl = SSL_new(doctor->tls);
    if (conn->ssl == NULL || SSL_set_fd(conn->ssl, conn->fd) != 1)
        return false;
    if (is_address)
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(conn->ssl), doctor->host);
    else if (SSL_set1_host(conn->ssl, doctor->host) != 1 ||
             SSL_set_tlsext_host_name(conn->ssl, name) != 1)
        return false;
    for (;;) {
        int result = SSL_connect(conn->ssl);
        if (result == 1)
            return true;
        int why = SSL_get_error(conn->ssl, result);
        short events = why == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN;
        if ((why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) &&
            await(conn->fd, events, until_ms))
            continue;
        snprintf(error, DOCTOR_TEXT_MAX, "TLS: %s", tls_reason(conn->ssl));
        return false;
    }
}

bool doctor_connect(const struct doctor *doctor, struct doctor_conn *conn,
                    unsigned source, char error[DOCTOR_TEXT_MAX])
{
    conn->len = 0;
    conn->ssl = NULL;
    conn->fd = open_socket(doctor, source);
    if (conn->fd < 0) {
        say_unconnected(doctor, error);
        return false;
    }
    if (!doctor->is_tls || shake_hands(doctor, conn, error))
        return true;
    doctor_close(conn);
    return false;
}

void doctor_close(struct doctor_conn *conn)
{
    SSL_free(conn->ssl);
    conn->ssl = NULL;
    if (conn->fd >= 0)
        close(conn->fd);
    conn->fd = -1;
}

bool doctor_send(struct doctor_conn *conn, const char *bytes, size_t len)
{
    int64_t until_ms = gw_now_ms() + DOCTOR_ANSWER_MS;
    while (len > 0) {
        ssize_t sent;
        if (conn->ssl != NULL) {
            ERR_clear_error();
            sent = SSL_write(conn->ssl, bytes, (int)len);
            if (sent <= 0 &&
                SSL_get_error(conn->ssl, (int)sent) == SSL_ERROR_WANT_WRITE)
                errno = EAGAIN;
            else if (sent <= 0)
                return false;
        } else {
            sent = send(conn->fd, bytes, len, MSG_NOSIGNAL);
        }
        if (sent > 0) {
            bytes += sent;
            len -= (size_t)sent;
        } else if (errno != EAGAIN || !await(conn->fd, POLLOUT, until_ms)) {
            return false;
        }
    }
    return true;
}

enum doctor_io doctor_read(struct doctor_conn *conn, int64_t until_ms)
{
    char *at = conn->in + conn->len;
    size_t room = sizeof(conn->in) - conn->len;
    if (room == 0)
        return DOCTOR_IO_JUNK;
    /* Whoever sends for ever must not hold us for ever. */
    if (gw_now_ms() >= until_ms)
        return DOCTOR_IO_TIMEOUT;
    for (;;) {
        ssize_t n;
        short events = POLLIN;
        bool is_blocked;
        if (conn->ssl != NULL) {
            ERR_clear_error();
            n = SSL_read(conn->ssl, at, (int)room);
            int why = n > 0 ? 0 : SSL_get_error(conn->ssl, (int)n);
            is_blocked =
                why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
            if (why == SSL_ERROR_WANT_WRITE)
                events = POLLOUT;
        } else {
            n = recv(conn->fd, at, room, 0);
            is_blocked = n < 0 && (errno == EAGAIN || errno == EINTR);
        }
        if (n > 0) {
            conn->len += (size_t)n;
            return DOCTOR_IO_OK;
        }
        if (!is_blocked)
            return DOCTOR_IO_CLOSED;
        if (!await(conn->fd, events, until_ms))
            return DOCTOR_IO_TIMEOUT;
    }
}

void doctor_use(struct doctor_conn *conn, size_t len)
{
    memmove(conn->in, conn->in + len, conn->len - len);
    conn->len -= len;
}
