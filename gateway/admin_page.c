/* SPDX-License-Identifier: MIT */
/* The live page's files. */
#include "gateway/admin_page.h"

#include <string.h>

static const char folder[] = "/ui/";
static const char first[] = "index.html";

const struct gw_admin_file *gw_admin_page_find(const char *path)
{
    const char *name = NULL;

    if (strcmp(path, "/") == 0)
        name = first;
    else if (strncmp(path, folder, sizeof(folder) - 1) == 0)
        name = path + sizeof(folder) - 1;
    if (name == NULL)
        return NULL;
    for (const struct gw_admin_file *file = gw_admin_files; file->name != NULL;
         file++)
        if (strcmp(file->name, name) == 0)
            return file;
    return NULL;
}

const char *gw_admin_page_type(const struct gw_admin_file *file)
{
    static const struct {
        const char *ending;
        const char *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".svg", "image/svg+xml"},
    };
    const char *ending = strrchr(file->name, '.');

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (ending != NULL && strcmp(ending, types[i].ending) == 0)
            return types[i].type;
    return "application/octet-stream";
}
