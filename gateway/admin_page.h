/* SPDX-License-Identifier: MIT */
/* The live page: the files of gateway/ui, which the program carries. */
#ifndef SIDGATE_GATEWAY_ADMIN_PAGE_H
#define SIDGATE_GATEWAY_ADMIN_PAGE_H

#include <stddef.h>

struct gw_admin_file {
    const char *name;
    const char *etag; /* with its quotes */
    const unsigned char *bytes;
    size_t len;
};

/* Made at build time; ends with a name of NULL. */
extern const struct gw_admin_file gw_admin_files[];

/* "/" is index.html, "/ui/NAME" any; NULL: there is none. */
const struct gw_admin_file *gw_admin_page_find(const char *path);

/* Of its content, by the name's ending. */
const char *gw_admin_page_type(const struct gw_admin_file *file);

#endif
