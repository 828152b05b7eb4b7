/* SPDX-License-Identifier: MIT */
/* Sessions that are resumed, and certificates that are read again. */
#include "gateway/tls_private.h"
#include "tests/unit/tls_fixture.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

TestSuite(tls_reload, .init = tls_fixture_setup, .fini = tls_fixture_teardown);

static struct gw_config config;
static struct gw_tls *tls;
static char error[GW_TLS_ERROR_MAX];

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static SSL_SESSION *last;

static int keep(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(last);
    /* The end of the connection must not spoil it. */
    last = SSL_SESSION_dup(session);
    return 0;
}

/* A client that keeps its last session, and whose certificate is `shows`. */
static SSL_CTX *client_context(int version, const struct tls_issued *shows)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT |
                                            SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep);
    if (shows) {
        SSL_CTX_use_certificate(ctx, shows->cert);
        SSL_CTX_use_PrivateKey(ctx, shows->key);
    }
    return ctx;
}

/* Connects with the last session. Whether it was resumed, which `name` says
 * too: that of the certificate. */
static bool resumes(SSL_CTX *ctx, const char *name)
{
    struct tls_pair pair;
    SSL *ssl = SSL_new(ctx);
    SSL_SESSION *session = last ? SSL_SESSION_dup(last) : NULL;

    SSL_set_connect_state(ssl);
    if (session)
        SSL_set_session(ssl, session);
    SSL_SESSION_free(session);
    tls_meet(&pair, gw_tls_accept(tls), ssl);
    cr_assert(pair.is_done, "%s, %s", pair.server_why, pair.client_why);
    if (name)
        cr_expect_str_eq(tls_shown(&pair), name, "%s", tls_shown(&pair));
    bool is_resumed = SSL_session_reused(pair.client) == 1;
    /* OpenSSL calls nobody for a ticket that replaces one of TLS 1.2. */
    if (is_resumed && SSL_version(pair.client) == TLS1_2_VERSION)
        keep(pair.client, SSL_get_session(pair.client));
    cr_expect_eq(SSL_session_reused(pair.server), is_resumed);
    tls_part(&pair);
    return is_resumed;
}

static void forget(void)
{
    SSL_SESSION_free(last);
    last = NULL;
}

static void reload(void)
{
    cr_assert(gw_tls_reload(tls, &config, error), "%s", error);
}

static int64_t clock_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec;
}

static void serve(void)
{
    cr_assert(gw_tls_new(&config, &tls, error), "%s", error);
}

static void finish(SSL_CTX *ctx)
{
    forget();
    SSL_CTX_free(ctx);
    gw_tls_free(tls);
}

static void show_one_certificate(void)
{
    tls_config_setup(&config);
    tls_config_add(&config, tls_issue(&(struct tls_order){.name = "a"}));
}

Test(tls_reload, sessions_outlive_a_reload_and_one_change_of_keys)
{
    show_one_certificate();
    for (size_t i = 0; i < 2; i++) {
        SSL_CTX *ctx = client_context(versions[i], NULL);

        serve();
        cr_expect_not(resumes(ctx, NULL));
        cr_expect_not_null(last);
        cr_expect(resumes(ctx, NULL));
        reload();
        cr_expect(resumes(ctx, NULL));
        cr_expect_leq(SSL_SESSION_get_max_early_data(last), 0);

        /* The key's time is over: its tickets still count, new ones are made
         * with another, until that one is the old one. */
        int64_t now = clock_s();
        SSL_SESSION *first = SSL_SESSION_dup(last);
        cr_expect(
            gw_tls_tickets_turn(tls->tickets, now + GW_TLS_TICKET_PERIOD_S));
        cr_expect(resumes(ctx, NULL));
        SSL_SESSION *second = SSL_SESSION_dup(last);
        cr_expect(gw_tls_tickets_turn(tls->tickets,
                                      now + 2 * GW_TLS_TICKET_PERIOD_S + 1));
        SSL_SESSION_free(last);
        last = first;
        cr_expect_not(resumes(ctx, NULL));
        SSL_SESSION_free(last);
        last = second;
        cr_expect(resumes(ctx, NULL));

        /* Nobody came for long: no key of that time is good. */
        cr_expect(gw_tls_tickets_turn(tls->tickets,
                                      now + 9 * GW_TLS_TICKET_PERIOD_S));
        cr_expect_not(resumes(ctx, NULL));
        cr_expect(resumes(ctx, NULL));
        finish(ctx);
    }
}

Test(tls_reload, tickets_of_another_process_are_not_ours)
{
    show_one_certificate();
    for (size_t i = 0; i < 2; i++) {
        SSL_CTX *ctx = client_context(versions[i], NULL);

        serve();
        cr_expect_not(resumes(ctx, NULL));
        gw_tls_free(tls);
        serve();
        cr_expect_not(resumes(ctx, NULL));
        finish(ctx);
    }
}

Test(tls_reload, sessions_of_clients_with_certificates_end_with_the_demand)
{
    const struct tls_issued *ca =
        tls_issue(&(struct tls_order){.name = "ca", .is_ca = true});
    const struct tls_issued *next =
        tls_issue(&(struct tls_order){.name = "next", .is_ca = true});
    const struct tls_issued *client =
        tls_issue(&(struct tls_order){.name = "client", .issuer = ca});

    show_one_certificate();
    for (size_t i = 0; i < 2; i++) {
        SSL_CTX *ctx = client_context(versions[i], client);
        SSL *ssl;
        struct tls_pair pair;

        tls_replace(ca, ca);
        snprintf(config.tls_client_ca, GW_FILE_MAX, "%s", ca->file);
        serve();
        cr_expect_not(resumes(ctx, NULL));
        cr_expect(resumes(ctx, NULL));
        reload();
        cr_expect(resumes(ctx, NULL));
        /* Whom the new authority does not know is not let in by what the old
         * one said. */
        tls_replace(ca, next);
        reload();
        ssl = SSL_new(ctx);
        SSL_set_connect_state(ssl);
        cr_assert_eq(SSL_set_session(ssl, last), 1);
        tls_meet(&pair, gw_tls_accept(tls), ssl);
        cr_expect_not(pair.is_done);
        cr_expect_str_eq(
            pair.server_why,
            "certificate verify failed: unable to get local issuer "
            "certificate",
            "%s", pair.server_why);
        tls_part(&pair);
        finish(ctx);
    }
}

Test(tls_reload, a_new_certificate_is_used_and_a_broken_one_is_not)
{
    const struct tls_issued *a = tls_issue(&(struct tls_order){.name = "a"});
    const struct tls_issued *b = tls_issue(&(struct tls_order){.name = "b"});
    SSL_CTX *ctx = client_context(0, NULL);

    tls_config_setup(&config);
    tls_config_add(&config, a);
    serve();
    cr_expect_not(resumes(ctx, "a"));
    tls_replace(a, b);
    forget();
    cr_expect_not(resumes(ctx, "a"));
    reload();
    forget();
    cr_expect_not(resumes(ctx, "b"));
    tls_write("a.pem", "broken", 6);
    cr_expect_not(gw_tls_reload(tls, &config, error));
    cr_expect(strstr(error, "/a.pem: holds no certificate in PEM"), "%s",
              error);
    cr_expect(resumes(ctx, "b"));
    forget();
    cr_expect_not(resumes(ctx, "b"));
    cr_expect_gt(gw_tls_not_after(tls), time(NULL));
    finish(ctx);
}

/* The contexts of connections that are under way must still be there. */
Test(tls_reload, handshakes_that_have_begun_end_with_their_certificates)
{
    const struct tls_issued *a = tls_issue(&(struct tls_order){.name = "a"});
    const struct tls_issued *b = tls_issue(&(struct tls_order){.name = "b"});
    const struct tls_issued *c = tls_issue(&(struct tls_order){.name = "c"});
    SSL_CTX *ctx = client_context(0, NULL);
    struct tls_pair pair;
    char name[] = "b";

    tls_config_setup(&config);
    tls_config_add(&config, a);
    tls_config_add(&config, b);
    serve();
    SSL *server = gw_tls_accept(tls);
    SSL *client = SSL_new(ctx);
    SSL_set_connect_state(client);
    SSL_set_tlsext_host_name(client, name);
    tls_replace(b, c);
    reload();
    reload();
    tls_meet(&pair, server, client);
    cr_expect(pair.is_done, "%s", pair.server_why);
    cr_expect_str_eq(tls_shown(&pair), "b");
    reload();
    char byte;
    cr_expect_eq(SSL_write(pair.server, "x", 1), 1);
    cr_expect_eq(SSL_read(pair.client, &byte, 1), 1);
    tls_part(&pair);
    finish(ctx);
}

enum { GUESTS = 3, RELOADS = 60 };

static atomic_bool is_over;
static atomic_uint met;

static void *guest(void *arg)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    char name[] = "b";

    while (!is_over) {
        struct tls_pair pair;
        SSL *client = SSL_new(ctx);

        SSL_set_connect_state(client);
        SSL_set_tlsext_host_name(client, name);
        tls_meet(&pair, gw_tls_accept(tls), client);
        cr_expect(pair.is_done, "%s", pair.server_why);
        tls_part(&pair);
        tls_meet(&pair, gw_tls_accept(tls),
                 gw_tls_connect(tls, &config.backends[0], 0));
        cr_expect(pair.is_done, "%s", pair.client_why);
        tls_part(&pair);
        met++;
    }
    SSL_CTX_free(ctx);
    return arg;
}

Test(tls_reload, while_connections_come_in)
{
    const struct tls_issued *a = tls_issue(&(struct tls_order){.name = "a"});
    pthread_t threads[GUESTS];
    unsigned reloads = 0;

    tls_config_setup(&config);
    tls_config_add(&config, a);
    tls_config_add(&config, tls_issue(&(struct tls_order){.name = "b"}));
    config.backend_count = 1;
    config.backends[0].is_tls = true;
    snprintf(config.backends[0].tls_name, sizeof(config.backends[0].tls_name),
             "a");
    snprintf(config.backend_ca, GW_FILE_MAX, "%s", a->file);
    serve();
    for (size_t i = 0; i < GUESTS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, guest, NULL), 0);
    for (; reloads < RELOADS || met < RELOADS; reloads++)
        reload();
    is_over = true;
    for (size_t i = 0; i < GUESTS; i++)
        pthread_join(threads[i], NULL);
    gw_tls_free(tls);
}
