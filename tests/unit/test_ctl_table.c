/* SPDX-License-Identifier: MIT */
/* JSON objects as the rows of an aligned table. */
#include "gateway/ctl_table.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct gw_ctl_column columns[] = {
    {"NAME", "name", gw_ctl_put_text, false},
    {"N", "n", gw_ctl_put_count, true},
    {"LAST", "last", gw_ctl_put_text, false},
};

static cJSON *parse(const char *json)
{
    cJSON *root = cJSON_Parse(json);

    cr_assert_neq(root, NULL, "%s", json);
    return root;
}

static void expect_table(const char *json, const char *printed)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    cJSON *rows = parse(json);

    cr_assert_neq(out, NULL);
    gw_ctl_table_print(columns, 3, rows, out);
    fclose(out);
    cr_expect_str_eq(text, printed);
    free(text);
    cJSON_Delete(rows);
}

Test(ctl_table, no_rows)
{
    expect_table("[]", "NAME  N  LAST\n");
}

Test(ctl_table, alignment)
{
    expect_table("[{\"name\":\"a-long-name\",\"n\":5,\"last\":\"x\"},"
                 "{\"name\":\"b\",\"n\":123456},7]",
                 "NAME            N  LAST\n"
                 "a-long-name     5  x\n"
                 "b            123k  -\n"
                 "-               -  -\n");
}

/* Pages that follow keep the widths, and widen them. */
Test(ctl_table, pages)
{
    struct gw_ctl_table table = {.columns = columns, .count = 3};
    cJSON *wide = parse("[{\"name\":\"wide-name\"}]");
    cJSON *narrow = parse("[{\"name\":\"n\",\"n\":1000}]");
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    cr_assert_neq(out, NULL);
    gw_ctl_table_measure(&table, wide);
    gw_ctl_table_rows(&table, wide, out);
    gw_ctl_table_measure(&table, narrow);
    gw_ctl_table_rows(&table, narrow, out);
    fclose(out);
    cr_expect_str_eq(text, "wide-name  -  -\nn          1.0k  -\n");
    free(text);
    cJSON_Delete(wide);
    cJSON_Delete(narrow);
}

Test(ctl_table, members)
{
    cJSON *row = parse("{\"n\":1,\"N\":2,\"s\":\"x\",\"empty\":\"\"}");

    cr_expect_eq(gw_ctl_number(row, "n"), 1);
    cr_expect(isnan(gw_ctl_number(row, "s")));
    cr_expect(isnan(gw_ctl_number(NULL, "s")));
    cr_expect_str_eq(gw_ctl_text(row, "s"), "x");
    cr_expect_eq(gw_ctl_text(row, "empty"), NULL);
    cr_expect_eq(gw_ctl_text(row, "n"), NULL);
    cr_expect_eq(gw_ctl_member(row, "S"), NULL);
    cJSON_Delete(row);
}

struct cell {
    const char *json; /* the row, whose member "x" it is */
    const char *text;
};

static void check(gw_ctl_cell_fn put, const struct cell *cells)
{
    char out[GW_CTL_CELL_MAX];

    for (; cells->json != NULL; cells++) {
        cJSON *row = parse(cells->json);

        put(row, "x", out);
        cr_expect_str_eq(out, cells->text, "%s is %s, not %s", cells->json, out,
                         cells->text);
        cJSON_Delete(row);
    }
}

Test(ctl_table, time)
{
    static const struct cell cells[] = {
        {"{\"x\":\"2026-01-02T03:04:05.678Z\"}", "2026-01-02T03:04:05Z"},
        {"{\"x\":\"2026-01-02T03:04:05Z\"}", "2026-01-02T03:04:05Z"},
        {"{\"x\":\"\\u001b026-01-02T03:04:05.678\"}",
         "?026-01-02T03:04:05.678"},
        {"{\"x\":\"\"}", "-"},
        {"{\"x\":7}", "-"},
        {NULL, NULL},
    };

    check(gw_ctl_put_time, cells);
}

Test(ctl_table, limit)
{
    static const struct cell cells[] = {
        {"{\"x\":0}", "-"},
        {"{\"x\":500}", "500"},
        {"{}", "-"},
        {NULL, NULL},
    };

    check(gw_ctl_put_limit, cells);
}

Test(ctl_table, upgraded)
{
    static const struct cell cells[] = {
        {"{\"upgrade_attempts\":4,\"upgrade_successes\":3}", "75.0 %"},
        {"{\"upgrade_attempts\":0,\"upgrade_successes\":0}", "-"},
        {"{\"upgrade_attempts\":1,\"upgrade_successes\":2}", "-"},
        {"{\"upgrade_attempts\":1}", "-"},
        {"{}", "-"},
        {NULL, NULL},
    };

    check(gw_ctl_put_upgraded, cells);
}

Test(ctl_table, drain)
{
    static const struct cell cells[] = {
        {"{}", "-"},
        {"{\"x\":null}", "-"},
        {"{\"x\":{}}", "on"},
        {"{\"x\":{\"rate\":0,\"deadline_s\":null}}", "on"},
        {"{\"x\":{\"rate\":20}}", "20/s"},
        {"{\"x\":{\"rate\":0,\"deadline_s\":90}}", "1m30s left"},
        {"{\"x\":{\"rate\":20,\"deadline_s\":90}}", "20/s, 1m30s left"},
        {"{\"sessions\":25,\"x\":{\"sessions_at_start\":100}}", "75.0 %"},
        {"{\"sessions\":0,\"x\":{\"sessions_at_start\":100,\"rate\":5}}",
         "100 %, 5.0/s"},
        {"{\"sessions\":200,\"x\":{\"sessions_at_start\":100,\"rate\":5}}",
         "0 %, 5.0/s"},
        {"{\"sessions\":0,\"x\":{\"sessions_at_start\":0}}", "100 %"},
        {"{\"sessions\":\"x\",\"x\":{\"sessions_at_start\":9}}", "on"},
        {NULL, NULL},
    };

    check(gw_ctl_put_drain, cells);
}
