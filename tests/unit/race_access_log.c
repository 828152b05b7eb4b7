/* SPDX-License-Identifier: MIT */
/* Many threads have lines for the access log while its file is renamed, another
 * one is named and nothing is to be logged: no line is lost, torn or doubled
 * but those that are counted. */
#include "gateway/access_log.h"
#include "gateway/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WRITERS = 6, LINES = 20000, TURNS = 40 };

static char folder[] = "/tmp/race-access-log-XXXXXX";
static struct gw_access_log *access_log;
static struct gw_config config;
static atomic_uint running;

static void fail(const char *what)
{
    fprintf(stderr, "race_access_log: %s\n", what);
    exit(1);
}

static void *write_lines(void *arg)
{
    const unsigned *writer = arg;
    struct gw_ended ended = {.id = "0123456789abcdef", .sid = "abcd..."};
    char line[64];

    for (unsigned n = 0; n < LINES; n++) {
        int len = snprintf(line, sizeof(line), "line %u %u\n", *writer, n);
        gw_access_log_put(access_log, line, (size_t)len);
        if (n % 1000 == 0)
            gw_access_log_session(access_log, &ended);
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

static void name_file(int n, char out[GW_FILE_MAX])
{
    snprintf(out, GW_FILE_MAX, "%s/%d", folder, n);
}

/* What an operator does meanwhile. */
static int disturb(void)
{
    char old[GW_FILE_MAX];
    char error[256];
    int n = 0;

    while (atomic_load(&running) > 0 || n < TURNS) {
        name_file(n, old);
        name_file(++n, config.access_log);
        config.access_log_format = n % 2 ? GW_LOG_JSON : GW_LOG_TEXT;
        if (n % 3 == 0 && !gw_access_log_configure(access_log, &config, error))
            fail(error);
        if (n % 3 != 0) {
            rename(old, config.access_log);
            gw_access_log_reopen(access_log);
        }
        usleep(1000);
    }
    return n;
}

static size_t count_lines(int files)
{
    size_t count = 0;

    for (int i = 0; i <= files; i++) {
        char name[GW_FILE_MAX];
        char line[4096];
        name_file(i, name);
        FILE *file = fopen(name, "r");
        while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
            unsigned writer;
            unsigned n;
            char end;
            bool is_line =
                sscanf(line, "line %u %u%c", &writer, &n, &end) == 3 &&
                end == '\n' && writer < WRITERS && n < LINES;
            if (!is_line && strstr(line, "session_end") == NULL)
                fail(line);
            count += is_line;
        }
        if (file != NULL)
            fclose(file);
    }
    return count;
}

int main(void)
{
    static unsigned writers[WRITERS];
    pthread_t threads[WRITERS];
    char error[256];
    char command[64];

    gw_log_setup(GW_LOG_ERROR, GW_LOG_TEXT);
    if (mkdtemp(folder) == NULL)
        fail(folder);
    name_file(0, config.access_log);
    access_log = gw_access_log_new(&config, error);
    if (access_log == NULL || !gw_access_log_run(access_log))
        fail(error);
    atomic_store(&running, WRITERS);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = i;
        if (pthread_create(&threads[i], NULL, write_lines, &writers[i]) != 0)
            fail("no thread");
    }
    int files = disturb();
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    size_t lost = (size_t)gw_access_log_lost(access_log);
    gw_access_log_free(access_log);
    size_t count = count_lines(files);
    printf("%zu lines in files, %zu lost\n", count, lost);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    if (system(command) != 0)
        fail(command);
    /* What was lost may have been the end of a session. */
    return count <= WRITERS * LINES && count + lost >= WRITERS * LINES ? 0 : 1;
}
