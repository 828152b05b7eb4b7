/* SPDX-License-Identifier: MIT */
/* The live page as the program carries it. */
#include "admin_fixture.h"

#include "gateway/admin_page.h"

#define TOKEN "correct-horse-battery-staple"

static const char *ending_of(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot != NULL ? dot : "";
}

Test(admin_page, files)
{
    size_t total = 0;

    cr_assert_not_null(gw_admin_page_find("/"));
    cr_expect_str_eq(gw_admin_page_find("/")->name, "index.html");
    for (const struct gw_admin_file *file = gw_admin_files; file->name != NULL;
         file++) {
        char path[128];

        snprintf(path, sizeof(path), "/ui/%s", file->name);
        cr_expect_eq(gw_admin_page_find(path), file);
        cr_expect_gt(file->len, 0);
        cr_expect_eq(file->etag[0], '"');
        total += file->len;
    }
    cr_expect_lt(total, 100 * 1000, "%zu bytes", total);
    cr_expect_null(gw_admin_page_find("/ui/"));
    cr_expect_null(gw_admin_page_find("/ui"));
    cr_expect_null(gw_admin_page_find("/index.html"));
    cr_expect_null(gw_admin_page_find("/ui/none.js"));
    cr_expect_null(gw_admin_page_find(""));
}

Test(admin_page, types)
{
    static const struct {
        const char *name;
        const char *type;
    } table[] = {
        {"a.html", "text/html; charset=utf-8"},
        {"a.min.js", "text/javascript; charset=utf-8"},
        {"a.css", "text/css; charset=utf-8"},
        {"a.svg", "image/svg+xml"},
        {"a.exe", "application/octet-stream"},
        {"js", "application/octet-stream"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct gw_admin_file file = {.name = table[i].name};

        cr_expect_str_eq(gw_admin_page_type(&file), table[i].type);
    }
}

static const char *const fields[] = {
    "content-security-policy: default-src 'none'; script-src 'self'; "
    "style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n",
    "x-content-type-options: nosniff\r\n",
    "referrer-policy: no-referrer\r\n",
    "cache-control: no-cache\r\n",
    "connection: close\r\n",
};

/* A file asked for with these fields. */
static char *ask(const char *method, const char *path, const char *more,
                 size_t *len)
{
    char request[512];

    snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n",
             method, path, more);
    return exchange(request, len);
}

/* No token, and from a link of any site. */
Test(admin_page, is_served)
{
    tokens.full = TOKEN;
    open_admin();
    for (const struct gw_admin_file *file = gw_admin_files; file->name != NULL;
         file++) {
        char path[128];
        size_t len;

        snprintf(path, sizeof(path), "/ui/%s", file->name);
        if (strcmp(file->name, "index.html") == 0)
            snprintf(path, sizeof(path), "/");
        char *bytes = ask("GET", path, "Sec-Fetch-Site: cross-site\r\n", &len);
        cr_assert_eq(strncmp(bytes, "HTTP/1.1 200 ", 13), 0, "%s", bytes);
        const char *body = strstr(bytes, "\r\n\r\n") + 4;
        cr_expect_eq(len - (size_t)(body - bytes), file->len);
        cr_expect_eq(memcmp(body, file->bytes, file->len), 0);
        for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
            cr_expect_not_null(strstr(bytes, fields[i]), "%s", fields[i]);
        cr_expect_not_null(strstr(bytes, gw_admin_page_type(file)), "%s",
                           ending_of(file->name));
        free(bytes);

        bytes = ask("HEAD", path, "", &len);
        cr_expect_eq(strncmp(bytes, "HTTP/1.1 200 ", 13), 0);
        cr_expect_eq(strstr(bytes, "\r\n\r\n") + 4, bytes + len);
        free(bytes);
    }
    close_admin();
}

Test(admin_page, is_not_sent_again)
{
    char field[128];
    size_t len;

    open_admin();
    const char *etag = gw_admin_page_find("/")->etag;
    snprintf(field, sizeof(field), "If-None-Match: W/\"x\", %s\r\n", etag);
    char *bytes = ask("GET", "/", field, &len);
    cr_expect_eq(strncmp(bytes, "HTTP/1.1 304 ", 13), 0, "%s", bytes);
    cr_expect_not_null(strstr(bytes, etag));
    cr_expect_eq(strstr(bytes, "\r\n\r\n") + 4, bytes + len);
    free(bytes);
    bytes = ask("GET", "/", "If-None-Match: \"x\"\r\n", &len);
    cr_expect_eq(strncmp(bytes, "HTTP/1.1 200 ", 13), 0, "%s", bytes);
    free(bytes);
    close_admin();
}

Test(admin_page, what_is_none)
{
    tokens.full = TOKEN;
    open_admin();
    expect_answer("POST / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405 ",
                  "\r\nallow: GET, HEAD\r\n");
    expect_answer("GET /ui/none.js HTTP/1.1\r\nHost: x\r\n\r\n",
                  "HTTP/1.1 401 ", "");
    expect_answer("GET /ui/none.js HTTP/1.1\r\nHost: x\r\n"
                  "Authorization: Bearer " TOKEN "\r\n\r\n",
                  "HTTP/1.1 404 ", "not found");
    expect_answer("GET /ui/../../etc/passwd HTTP/1.1\r\nHost: x\r\n"
                  "Authorization: Bearer " TOKEN "\r\n\r\n",
                  "HTTP/1.1 404 ", "not found");
    close_admin();
}
