/* SPDX-License-Identifier: MIT */
/*
 * A worker: one thread with its own epoll, listeners, connections, timers,
 * backend connection pools and counters. Nothing on the hot path waits for
 * another worker.
 *
 * A turn: wait for events, call the streams' owners, fire timers, call the
 * ready list, free what was buried. Nothing is freed while an owner's
 * callback may still be on the stack.
 */
#ifndef SIDGATE_GATEWAY_WORKER_H
#define SIDGATE_GATEWAY_WORKER_H

#include "gateway/head.h"
#include "gateway/metrics.h"
#include "gateway/server.h"
#include "gateway/stream.h"
#include "gateway/timer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>

enum {
    GW_READ_BUFFER_BYTES = 65536,
    GW_SCRATCH_BYTES = 69632, /* heads being written: the largest that may be
                                 read, and what is added */
    GW_EVENTS_MAX = 256,
    GW_RECORD_BYTES = 16384,  /* of plaintext, in one TLS record */
    GW_RECORDS_BYTES = 73728, /* what a whole read buffer becomes */
};

/* In the low bits of what epoll gives back; a stream has none. */
enum { GW_TAG_LISTENER = 1, GW_TAG_WAKE = 2, GW_TAG_MASK = 3 };

/* A list head for connections of one kind, so that shutdown finds them. */
struct gw_link {
    struct gw_link *next;
    struct gw_link *prev;
};

/* Work for a worker from another thread, embedded in what it is about. */
struct gw_mail {
    struct gw_mail *next;
    void (*deliver)(struct gw_worker *worker, struct gw_mail *mail);
};

struct gw_recovery_table;
struct gw_replica;
struct gw_upstream;
struct gw_listener;
struct store_loop;

struct gw_worker {
    struct gw_server *server;
    const struct gw_config *config;
    unsigned index;
    int epoll_fd;
    int wake_fd;    /* eventfd: the control thread wants attention */
    int reserve_fd; /* given up to tell a client that there are none */
    int64_t now_ms; /* monotonic, taken once a turn */
    int64_t now_us; /* the same moment */
    uint32_t turn;  /* how many there have been; wraps around */
    struct gw_wheel wheel;
    struct gw_timer housekeeping;
    struct gw_metrics metrics;
    struct gw_backend_metrics *backend_metrics; /* [GW_BACKEND_COUNT_MAX] */
    struct gw_listener *listeners;
    struct gw_rings *rings;
    struct gw_timer accept_pause; /* running while out of descriptors */
    bool is_paused;               /* nobody is let in, and no request begun, for
                                     now: a new process reaches its store */
    struct gw_upstream **idle;    /* [GW_BACKEND_COUNT_MAX] most recent first */
    struct gw_upstream *retired;  /* waiting for the backend's FIN */
    struct store_loop *loop;      /* this worker, as the shared store sees it */
    struct store *store;          /* the shared store, or the memory store */
    struct gw_recovery_table *recovery;
    struct gw_replica *replica; /* the first worker's, with a shared store */
    pthread_mutex_t mail_lock;
    struct gw_mail *mail; /* last one first */
    _Atomic bool has_mail;
    struct gw_link errands;      /* what the shared store is being told */
    struct gw_link late_errands; /* and what it could not be told */
    unsigned late_count;
    struct gw_link late_binds; /* of which a new process is told */
    uint64_t late_serial;
    struct gw_link queued; /* handshakes for which there is no place */
    unsigned queued_count[GW_POOL_COUNT_MAX];
    struct gw_timer queue_timer;
    struct gw_link connections;
    struct gw_link tunnels;
    struct gw_stream *ready;   /* to be called again */
    struct gw_stream *garbage; /* to be freed at the end of the turn */
    struct gw_grave *graves;   /* likewise, other objects */
    unsigned handshakes_left;  /* steps of TLS handshakes before others get a
                                  turn: each may take half a millisecond */
    uint64_t random_state;
    uint32_t round_robin;
    enum gw_phase phase; /* what this worker has carried out so far */
    struct gw_timer paced_close;
    uint64_t close_credit;
    struct gw_head head; /* the head parsed last */
    size_t kept_bytes;   /* request bodies that may be sent again */
    char read_buffer[GW_READ_BUFFER_BYTES];
    char scratch[GW_SCRATCH_BYTES];
    char record[GW_RECORD_BYTES];   /* small writes, to be one TLS record */
    char records[GW_RECORDS_BYTES]; /* TLS records of one call */
    size_t records_len;
    pthread_t thread;
    bool is_started;
};

/* Put at the start of objects that are freed at the end of a turn. */
struct gw_grave {
    struct gw_grave *next;
};

/* NULL, with one line in `error`, when something needed cannot be had. */
struct gw_worker *gw_worker_new(struct gw_server *server, unsigned index,
                                char error[256]);

/* Goes over to another configuration. In the worker's thread. */
void gw_worker_configure(struct gw_worker *worker,
                         const struct gw_config *config);

/* Starts the thread. False when it cannot be started. */
bool gw_worker_start(struct gw_worker *worker);

/* Makes the worker look at the server's phase. Any thread. */
void gw_worker_wake(struct gw_worker *worker);

/* Has mail->deliver called in the worker's thread, in the order of posting.
 * Any thread, as long as the worker exists; what is left when it ends is
 * delivered by gw_worker_free. */
void gw_worker_post(struct gw_worker *worker, struct gw_mail *mail);

/* Waits for the thread, if there is one. */
void gw_worker_join(struct gw_worker *worker);
void gw_worker_free(struct gw_worker *worker);

/* Frees a closed stream, or an object that begins with a gw_grave, at the end
 * of the turn. */
void gw_worker_bury(struct gw_worker *worker, struct gw_stream *stream);
void gw_worker_bury_object(struct gw_worker *worker, struct gw_grave *object);

uint32_t gw_worker_random(struct gw_worker *worker);

static inline void gw_worker_timer(struct gw_worker *worker,
                                   struct gw_timer *timer, int64_t after_ms,
                                   gw_timer_fn fire)
{
    gw_timer_start(&worker->wheel, timer, worker->now_ms, after_ms, fire);
}

static inline void gw_link_init(struct gw_link *head)
{
    head->next = head;
    head->prev = head;
}

static inline void gw_link_add(struct gw_link *head, struct gw_link *link)
{
    link->next = head;
    link->prev = head->prev;
    head->prev->next = link;
    head->prev = link;
}

static inline void gw_link_remove(struct gw_link *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    gw_link_init(link);
}

/* The struct of `type` whose `member` is at `ptr`. */
#define GW_CONTAINER(ptr, type, member)                                        \
    ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
