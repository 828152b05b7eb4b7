/* SPDX-License-Identifier: MIT */
/* Health checks of backends that speak TLS: verified as their traffic is. */
#include "health_fixture.h"

#include "tls_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const struct tls_issued *authority;
static const struct tls_issued *issued;
static SSL_CTX *ctx;

static SSL_CTX *context_of(const struct tls_issued *one)
{
    SSL_CTX *made = SSL_CTX_new(TLS_server_method());

    cr_assert_not_null(made);
    cr_assert_eq(SSL_CTX_use_certificate(made, one->cert), 1);
    cr_assert_eq(SSL_CTX_use_PrivateKey(made, one->key), 1);
    return made;
}

static void setup(void)
{
    health_setup();
    tls_fixture_setup();
    config.pools[0].health_check = GW_HEALTH_HTTP;
    authority = tls_issue(&(struct tls_order){.name = "ca", .is_ca = true});
    issued =
        tls_issue(&(struct tls_order){.name = "node",
                                      .alt = "DNS:node.example,IP:127.0.0.1",
                                      .issuer = authority});
    memcpy(config.backend_ca, authority->file, sizeof(config.backend_ca));
    ctx = context_of(issued);
}

static void teardown(void)
{
    health_teardown();
    SSL_CTX_free(ctx);
    tls_fixture_teardown();
}

TestSuite(health_tls, .init = setup, .fini = teardown);

static struct gw_backend *place_tls(unsigned index, const char *id,
                                    const struct server *server,
                                    const char *name)
{
    struct gw_backend *backend = place(index, id, server->port);

    backend->own.is_tls = true;
    snprintf(backend->own.tls_name, sizeof(backend->own.tls_name), "%s", name);
    return backend;
}

static void expect_name(struct server *server, const char *sni,
                        const char *host)
{
    pthread_mutex_lock(&server->lock);
    cr_expect_str_eq(server->name, sni);
    cr_expect_not_null(strcasestr(server->request, host), "%s",
                       server->request);
    pthread_mutex_unlock(&server->lock);
}

Test(health_tls, the_right_name_is_good)
{
    struct server *server = server_start(ctx, false);
    struct gw_backend *backend = place_tls(0, "n1", server, "node.example");

    atomic_store(&backend->is_down, true);
    health_begin();
    cr_assert(goes_up(backend));
    expect_name(server, "node.example", "\r\nHost: node.example\r\n");
    cr_assert(gets_hits(server, 5));
    cr_expect(!atomic_load(&backend->is_down), "%s", backend->health_reason);
    server_stop(server);
}

Test(health_tls, an_address_is_a_name_without_sni)
{
    struct server *server = server_start(ctx, false);
    struct gw_backend *backend = place_tls(0, "n1", server, "127.0.0.1");

    atomic_store(&backend->is_down, true);
    health_begin();
    cr_assert(goes_up(backend));
    expect_name(server, "", "\r\nHost: 127.0.0.1\r\n");
    server_stop(server);
}

Test(health_tls, each_backend_has_its_own_name)
{
    struct server *server = server_start(ctx, false);
    struct gw_backend *good = place_tls(0, "n1", server, "node.example");
    struct gw_backend *bad = place_tls(1, "n2", server, "other.example");
    struct gw_backend *address = place_tls(2, "n3", server, "127.0.0.2");

    health_begin();
    cr_assert(goes_down(bad));
    cr_assert(goes_down(address));
    cr_expect_str_eq(bad->health_reason,
                     "certificate verify failed: hostname mismatch");
    cr_expect_str_eq(address->health_reason,
                     "certificate verify failed: IP address mismatch");
    cr_expect(!atomic_load(&good->is_down), "%s", good->health_reason);
    server_stop(server);
}

Test(health_tls, long_names_are_whole_names)
{
    char name[] = "a123456789012345678901234567890123456789.b12345678901234567"
                  "8901234567890123456789.c12345678901234567890123456789012345"
                  "6789.d123456789012345678901234567890123456789.example";
    char alt[256];

    snprintf(alt, sizeof(alt), "DNS:%s", name);
    const struct tls_issued *one = tls_issue(
        &(struct tls_order){.name = "long", .alt = alt, .issuer = authority});
    SSL_CTX *own = context_of(one);
    struct server *server = server_start(own, false);
    struct gw_backend *backend = place_tls(0, "n1", server, name);

    atomic_store(&backend->is_down, true);
    health_begin();
    cr_expect(goes_up(backend));
    /* No room is left for it in that line. */
    expect_name(server, name, "\r\nHost: 127.0.0.1:");
    server_stop(server);
    SSL_CTX_free(own);
}

Test(health_tls, no_name_to_verify_is_not_good)
{
    struct server *server = server_start(ctx, false);
    struct gw_backend *backend = place_tls(0, "n1", server, "");

    health_begin();
    cr_expect(goes_down(backend));
    cr_expect_eq(server->request[0], '\0');
    server_stop(server);
}

static void expect_refused(const struct tls_order *order, const char *why)
{
    SSL_CTX *own = context_of(tls_issue(order));
    struct server *server = server_start(own, false);
    struct gw_backend *backend = place_tls(0, "n1", server, "node.example");

    health_begin();
    cr_expect(goes_down(backend));
    cr_expect_str_eq(backend->health_reason, why);
    cr_expect_eq(server->request[0], '\0');
    /* Unless nobody wants to know. */
    gw_health_free(health);
    backend = place_tls(0, "n1", server, "node.example");
    backend->own.is_unverified = true;
    atomic_store(&backend->is_down, true);
    health_begin();
    cr_expect(goes_up(backend));
    server_stop(server);
    SSL_CTX_free(own);
}

Test(health_tls, a_stranger_is_refused)
{
    expect_refused(
        &(struct tls_order){.name = "self", .alt = "DNS:node.example"},
        "certificate verify failed: self-signed certificate");
}

Test(health_tls, an_old_certificate_is_refused)
{
    expect_refused(&(struct tls_order){.name = "old",
                                       .alt = "DNS:node.example",
                                       .from_day = -9,
                                       .to_day = -1,
                                       .issuer = authority},
                   "certificate verify failed: certificate has expired");
}

Test(health_tls, a_certificate_of_the_future_is_refused)
{
    expect_refused(&(struct tls_order){.name = "future",
                                       .alt = "DNS:node.example",
                                       .from_day = 1,
                                       .to_day = 9,
                                       .issuer = authority},
                   "certificate verify failed: certificate is not yet valid");
}

Test(health_tls, our_certificate_is_shown)
{
    const struct tls_issued *own =
        tls_issue(&(struct tls_order){.name = "gateway", .issuer = authority});

    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       NULL);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), authority->cert);
    struct server *server = server_start(ctx, false);
    struct gw_backend *backend = place_tls(0, "n1", server, "node.example");

    health_begin();
    cr_assert(goes_down(backend));
    struct gw_config next = config;
    memcpy(next.backend_certificate.file, own->file, GW_FILE_MAX);
    memcpy(next.backend_certificate.key, own->key_file, GW_FILE_MAX);
    gw_health_configure(health, &next);
    cr_assert(goes_up(backend));
    cr_expect(server->has_certificate);
    server_stop(server);
    gw_health_configure(health, &config);
}

Test(health_tls, a_plain_server_is_down)
{
    struct server *server = server_start(NULL, false);
    struct gw_backend *backend = place_tls(0, "n1", server, "node.example");

    health_begin();
    cr_assert(goes_down(backend));
    cr_expect_neq(backend->health_reason[0], '\0');
    server_stop(server);
}

Test(health_tls, a_server_that_hangs_in_the_handshake)
{
    struct server *server = server_start(ctx, false);
    struct gw_backend *backend = place_tls(0, "n1", server, "node.example");

    config.pools[0].health_timeout_ms = 150;
    atomic_store(&server->mode, SERVER_HOLDS);
    health_begin();
    cr_assert(goes_down(backend));
    cr_expect_str_eq(backend->health_reason, "timeout after 150 ms");
    atomic_store(&server->mode, SERVER_ANSWERS);
    cr_assert(goes_up(backend));
    server_stop(server);
}

Test(health_tls, connections_do_not_outlive_their_answers)
{
    struct server *server = server_start(ctx, false);
    struct gw_backend *backend = place_tls(0, "n1", server, "node.example");

    atomic_store(&server->mode, SERVER_LINGERS);
    health_begin();
    cr_assert(gets_hits(server, 100));
    cr_expect(!atomic_load(&backend->is_down));
    server_stop(server);
}

Test(health_tls, reloads_leave_nothing_behind)
{
    enum { ROUNDS = 100 };
    struct server *server = server_start(ctx, false);
    struct gw_backend *backend = place_tls(0, "n1", server, "node.example");
    struct gw_config both[2] = {config, config};
    unsigned before = 0;

    health_begin();
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (i % 3 != 0)
            cr_assert(gets_hits(server, 1));
        gw_health_configure(health, &both[i % 2]);
        if (i == 9)
            before = count_descriptors();
    }
    cr_assert(gets_hits(server, 5));
    cr_expect(!atomic_load(&backend->is_down), "%s", backend->health_reason);
    cr_expect_leq(count_descriptors(), before + 4);
    gw_health_configure(health, &config);
    server_stop(server);
}

Test(health_tls, another_authority_after_a_reload)
{
    struct server *server = server_start(ctx, false);
    struct gw_backend *backend = place_tls(0, "n1", server, "node.example");
    const struct tls_issued *other =
        tls_issue(&(struct tls_order){.name = "other", .is_ca = true});
    struct gw_config next = config;

    health_begin();
    cr_assert(gets_hits(server, 3));
    memcpy(next.backend_ca, other->file, sizeof(next.backend_ca));
    gw_health_configure(health, &next);
    cr_expect(goes_down(backend));
    gw_health_configure(health, &config);
    cr_expect(goes_up(backend));
    server_stop(server);
}

Test(health_tls, a_missing_file_is_no_fault_of_a_backend)
{
    struct server *server = server_start(ctx, false);
    struct gw_backend *backend = place_tls(0, "n1", server, "node.example");

    snprintf(config.backend_ca, sizeof(config.backend_ca), "/nowhere");
    tls_log_begin();
    health_begin();
    turn_for(1200);
    const char *log = tls_log_end();
    cr_expect_not_null(strstr(log, "backend_check_impossible"), "%s", log);
    cr_expect(!atomic_load(&backend->is_down));
    server_stop(server);
}
