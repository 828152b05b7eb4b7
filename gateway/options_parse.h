/* SPDX-License-Identifier: MIT */
/* What the parts of the option reader share. Not for others. */
#ifndef SIDGATE_GATEWAY_OPTIONS_PARSE_H
#define SIDGATE_GATEWAY_OPTIONS_PARSE_H

#include "gateway/options.h"

#include <sys/types.h>

enum gw_option_kind {
    GW_KIND_GROUP, /* a heading in lists */
    /* Those that repeat. */
    GW_KIND_LISTEN,     /* host:port or unix:/path, and parts */
    GW_KIND_BACKEND,    /* [id=]host:port, and parts */
    GW_KIND_DISCOVER,   /* host:port or srv:name, and parts */
    GW_KIND_DNS_SERVER, /* address[:port] */
    GW_KIND_PATH,       /* starts with '/' */
    GW_KIND_HOST,       /* name or *.name */
    GW_KIND_SOURCE,     /* host */
    GW_KIND_NET,        /* address[/bits] or unix */
    GW_KIND_ORIGIN,
    GW_KIND_CERTIFICATE, /* file, and parts */
    /* All others are given once. */
    GW_KIND_ADMIN,    /* host:port, unix:/path or off */
    GW_KIND_PAIR,     /* file[,key=file]; "" for none */
    GW_KIND_USER,     /* name[:group]; "" for none */
    GW_KIND_TEXT,     /* printable ASCII */
    GW_KIND_TLS_NAME, /* host name or address; "" for none */
    GW_KIND_STORE,
    GW_KIND_NAME,
    GW_KIND_PREFIX,       /* of keys */
    GW_KIND_FILE,         /* its name; "" for none */
    GW_KIND_PREFIX_PATH,  /* starts with '/'; "" for none */
    GW_KIND_PATH_QUERY,   /* likewise, and a query may follow */
    GW_KIND_HASH_KEY,     /* address, header:name and so on */
    GW_KIND_CANARY,       /* pool, and parts; "" for none */
    GW_KIND_STATUS_RANGE, /* two uint32_t, the first of which is the field */
    GW_KIND_CHOICE,       /* an enum, by its position among the words */
    GW_KIND_SWITCH,       /* bool */
    GW_KIND_COUNT,        /* uint32_t or uint64_t */
    GW_KIND_SIZE,         /* likewise, in bytes */
    GW_KIND_TIME,         /* likewise, in ms */
    GW_KIND_CONFIG,       /* --config; no field */
    GW_KIND_ACTION,       /* --check and the like; no field */
};

struct gw_option {
    const char *name;
    bool is_of_pool; /* the field is in gw_pool_config */
    size_t offset;   /* of the field in gw_config; of pools[0]'s */
    size_t width;
    uint64_t min;
    uint64_t max;
    const char *initial; /* the default as text; a list's, with spaces */
    const char *argument;
    const char *help; /* of a group: its title */
    enum gw_option_kind kind;
    enum gw_action action;
};

extern const struct gw_option gw_option_table[];
extern const size_t gw_option_count;

/* Where a value came from, weakest first. */
enum gw_origin {
    GW_ORIGIN_DEFAULT,
    GW_ORIGIN_FILE,
    GW_ORIGIN_ENVIRONMENT,
    GW_ORIGIN_FLAG,
    GW_ORIGIN_COMMAND, /* of an operator, to the running process */
};

enum {
    GW_OPTION_COUNT_MAX = 128,
    GW_OPTION_TEXT_MAX = 1024, /* a value with parts, with NUL */
    /* Any value; the mask of a store's URL may be longer than what it hides. */
    GW_VALUE_TEXT_MAX = GW_OPTION_TEXT_MAX + 4,
    GW_UNIX_MODE = 0660, /* of a unix socket where none is given */
    GW_HTTPS_PORT = 443, /* that redirects name where none is given */
    GW_DNS_PORT = 53,
    GW_HOST_NAME_MAX = 253, /* bytes of a name in DNS */
};

#define GW_POOL_DEFAULT "default" /* the first pool's name */

struct gw_reader {
    struct gw_config *config;
    char *error;           /* GW_OPTIONS_ERROR_MAX bytes */
    const char *file;      /* the configuration file's name, for errors */
    enum gw_origin origin; /* what is read now */
    size_t pool;           /* whose options are read now */
    bool has_pools;        /* the file has named others than the first */
    /* The strongest origin of each option so far; of the first pool's too. */
    enum gw_origin given[GW_OPTION_COUNT_MAX];
    /* Those that the file gives to other pools. */
    bool pool_given[GW_POOL_COUNT_MAX][GW_OPTION_COUNT_MAX];
};

/* NULL when there is none. `separator` is what stands for '-' in the name. */
const struct gw_option *gw_option_find(const char *name, char separator);

bool gw_option_repeats(const struct gw_option *option);

/* May it stand in the file's "pools"? */
bool gw_option_is_for_pools(const struct gw_option *option);

/* How many values a list has, of all pools for backends and the like. */
size_t gw_option_length(const struct gw_option *option,
                        const struct gw_config *config, size_t pool);

/* Its field, or the pool's; a list's first value. */
const void *gw_option_field(const struct gw_option *option,
                            const struct gw_config *config, size_t pool);
void *gw_option_field_of(const struct gw_reader *reader,
                         const struct gw_option *option);

/* What the reader's pool has given already, from this very source. */
bool gw_option_is_given(const struct gw_reader *reader,
                        const struct gw_option *option);

/* SIDGATE_ and the name in capitals. */
void gw_option_environment(const struct gw_option *option, char out[64]);

/* Writes the error line for `option`, as the reader's origin calls it. The
 * line is one line whatever the values in it hold. Returns -1. */
int gw_option_fail(struct gw_reader *reader, const struct gw_option *option,
                   const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A list's first value of an origin empties what weaker ones gave; a second
 * value of the same origin for anything else is an error. Call it before the
 * values are set. Returns 0 or -1. */
int gw_option_begin(struct gw_reader *reader, const struct gw_option *option);

/* Is there a place for one more in the list? Returns 0 or -1. */
int gw_option_make_room(struct gw_reader *reader,
                        const struct gw_option *option);

/* Parses one value and stores it (a list: appends it). Names are not resolved
 * yet. Returns 0 or -1. */
int gw_option_set(struct gw_reader *reader, const struct gw_option *option,
                  const char *text);

/* Gives a pool that does not say it the first one's value. */
void gw_option_inherit(struct gw_config *config, const struct gw_option *option,
                       size_t pool);

/* Setters of options_address.c, options_backend.c, options_route.c,
 * options_edge.c and options_store.c. */
int gw_option_set_listen(struct gw_reader *reader,
                         const struct gw_option *option, const char *text);
int gw_option_set_backend(struct gw_reader *reader,
                          const struct gw_option *option, const char *text);
int gw_option_set_discover(struct gw_reader *reader,
                           const struct gw_option *option, const char *text);
int gw_option_set_dns_server(struct gw_reader *reader,
                             const struct gw_option *option, const char *text);
int gw_option_set_path(struct gw_reader *reader, const struct gw_option *option,
                       const char *text);
int gw_option_set_host(struct gw_reader *reader, const struct gw_option *option,
                       const char *text);
int gw_option_set_prefix_path(struct gw_reader *reader,
                              const struct gw_option *option, const char *text);
int gw_option_set_path_query(struct gw_reader *reader,
                             const struct gw_option *option, const char *text);
int gw_option_set_hash_key(struct gw_reader *reader,
                           const struct gw_option *option, const char *text);
int gw_option_set_canary(struct gw_reader *reader,
                         const struct gw_option *option, const char *text);
int gw_option_set_status_range(struct gw_reader *reader,
                               const struct gw_option *option,
                               const char *text);
int gw_option_set_source(struct gw_reader *reader,
                         const struct gw_option *option, const char *text);
int gw_option_set_admin(struct gw_reader *reader,
                        const struct gw_option *option, const char *text);
int gw_option_set_net(struct gw_reader *reader, const struct gw_option *option,
                      const char *text);
int gw_option_set_origin(struct gw_reader *reader,
                         const struct gw_option *option, const char *text);
int gw_option_set_certificate(struct gw_reader *reader,
                              const struct gw_option *option, const char *text);
int gw_option_set_pair(struct gw_reader *reader, const struct gw_option *option,
                       const char *text);
int gw_option_set_user(struct gw_reader *reader, const struct gw_option *option,
                       const char *text);
int gw_option_set_store(struct gw_reader *reader,
                        const struct gw_option *option, const char *text);
int gw_option_set_tls_name(struct gw_reader *reader,
                           const struct gw_option *option, const char *text);

/* What may stand behind a value's first comma: ",name" or ",name=value". */
struct gw_part {
    const char *name; /* NULL ends a table */
    enum {
        GW_PART_FLAG,  /* no value */
        GW_PART_VALUE, /* a value that is not empty */
        GW_PART_EITHER,
    } takes;
    bool is_given;
    const char *value; /* in the copy; NULL for none */
};

/* Copies the text, cuts the copy at its commas, so that what stands before the
 * first one is left, and fills the table with the rest. Returns 0 or -1. */
int gw_option_split(struct gw_reader *reader, const struct gw_option *option,
                    const char *text, char copy[GW_OPTION_TEXT_MAX],
                    struct gw_part *parts);

/* A file's name: shorter than `size`, no control characters. 0 or -1. */
int gw_option_check_file(struct gw_reader *reader,
                         const struct gw_option *option, const char *name,
                         size_t size);

/* Digits up to a byte that is none, which *text is moved to; false where there
 * are none or too many. */
bool gw_option_digits(const char **text, uint64_t *out);

/* Nothing but ASCII letters, digits and `others`? */
bool gw_option_has_only(const char *text, size_t len, const char *others);

/* Copies it with its letters in lower case, and its NUL. */
void gw_option_lower(const char *text, size_t len, char *out);

/* A port and nothing behind it? */
bool gw_option_port(const char *text, uint64_t min, uint64_t max,
                    uint64_t *port);

/* 1 to 31 letters, digits, '.', '_' or '-'? */
bool gw_option_is_pool_name(const char *text);

/* What stands before the name of a HASH_KEY, by its source. */
extern const char *const gw_hash_sources[];

/* Labels with dots between them, none at the end. */
bool gw_option_is_name(const char *text, size_t len);

/* A host name or an address that a certificate may have, IPv6 without brackets,
 * of at most 255 bytes? */
bool gw_option_is_tls_name(const char *text);

/* host:port, whose text is kept. Returns 0 or -1. */
int gw_option_parse_inet(struct gw_reader *reader,
                         const struct gw_option *option, const char *text,
                         struct gw_address *out);

/* "unix:/path"? */
bool gw_address_is_unix(const struct gw_address *address);

/* The host of an address that has a port or none, without brackets. */
void gw_address_host(const struct gw_address *address,
                     char out[GW_ADDRESS_MAX]);

/* Reads a whole file's text, which is changed in doing so; text[len] is NUL.
 * Returns 0 or -1. */
int gw_options_json(struct gw_reader *reader, char *text, size_t len);
int gw_options_file(struct gw_reader *reader, const char *name);

/* Reads up to `size` bytes to the end of the file. Returns how many, or -1 with
 * errno set. */
ssize_t gw_options_read_all(int fd, char *text, size_t size);

/* After the last source: gives pools what they do not say, and puts backends
 * in the order of their pools. */
void gw_options_fill(struct gw_reader *reader);

/* Resolves all addresses, reads the files that hold secrets and checks what
 * several options say together. Returns 0 or -1. */
int gw_options_check(struct gw_reader *reader);
int gw_options_check_pools(struct gw_reader *reader);
int gw_options_check_store(struct gw_reader *reader);
int gw_options_read_secrets(struct gw_reader *reader);

/* Finds the address, whose form has been checked. Returns 0 or -1. */
int gw_option_resolve(struct gw_reader *reader, const struct gw_option *option,
                      struct gw_address *address, bool has_port);

/* The option that a failed check is about. From now on it is called as where
 * its value came from calls it. */
const struct gw_option *gw_option_blame(struct gw_reader *reader,
                                        const char *name);
const struct gw_option *gw_option_blame_pool(struct gw_reader *reader,
                                             const char *name, size_t pool);

/* What --print-config says of an option: the n-th value of a list (false past
 * the last), or the only value. A SWITCH and a COUNT are not strings there. */
bool gw_option_list_text(const struct gw_option *option,
                         const struct gw_config *config, size_t pool, size_t n,
                         char out[GW_OPTION_TEXT_MAX]);
void gw_option_text(const struct gw_option *option,
                    const struct gw_config *config, size_t pool,
                    char out[GW_VALUE_TEXT_MAX]);

/* The number that a COUNT, SIZE, TIME or CHOICE field holds, and it as text in
 * the largest unit that divides it. */
uint64_t gw_option_number(const struct gw_option *option,
                          const struct gw_config *config, size_t pool);
void gw_quantity_text(enum gw_option_kind kind, uint64_t value, char out[32]);

/* The n-th word of a CHOICE into out; false past the last. */
bool gw_choice_word(const struct gw_option *option, size_t n, char out[32]);

#endif
