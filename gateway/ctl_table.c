/* SPDX-License-Identifier: MIT */
/* JSON objects as the rows of an aligned table. */
#include "gateway/ctl_table.h"

#include <string.h>

/* NULL stands for the line of titles. */
static int put(const struct gw_ctl_column *column, const cJSON *row, char *out)
{
    if (row == NULL)
        snprintf(out, GW_CTL_CELL_MAX, "%s", column->title);
    else
        column->put(row, column->key, out);
    return (int)strlen(out);
}

static void measure(struct gw_ctl_table *table, const cJSON *row)
{
    char cell[GW_CTL_CELL_MAX];

    for (size_t i = 0; i < table->count; i++) {
        int width = put(&table->columns[i], row, cell);

        if (width > table->widths[i])
            table->widths[i] = width;
    }
}

/* No blanks stand at the end of a line. */
static void print(const struct gw_ctl_table *table, const cJSON *row, FILE *out)
{
    char cell[GW_CTL_CELL_MAX];

    for (size_t i = 0; i < table->count; i++) {
        int pad = table->widths[i] - put(&table->columns[i], row, cell);
        bool is_last = i + 1 == table->count;
        bool is_right = table->columns[i].is_right;

        if (pad < 0)
            pad = 0;
        fprintf(out, "%*s%s%*s%s", is_right ? pad : 0, "", cell,
                is_right || is_last ? 0 : pad, "", is_last ? "\n" : "  ");
    }
}

void gw_ctl_table_measure(struct gw_ctl_table *table, const cJSON *rows)
{
    const cJSON *row = NULL;

    measure(table, NULL);
    cJSON_ArrayForEach(row, rows)
    {
        measure(table, row);
    }
}

void gw_ctl_table_titles(const struct gw_ctl_table *table, FILE *out)
{
    print(table, NULL, out);
}

void gw_ctl_table_rows(const struct gw_ctl_table *table, const cJSON *rows,
                       FILE *out)
{
    const cJSON *row = NULL;

    cJSON_ArrayForEach(row, rows)
    {
        print(table, row, out);
    }
}

void gw_ctl_table_print(const struct gw_ctl_column *columns, size_t count,
                        const cJSON *rows, FILE *out)
{
    struct gw_ctl_table table = {.columns = columns, .count = count};

    gw_ctl_table_measure(&table, rows);
    gw_ctl_table_titles(&table, out);
    gw_ctl_table_rows(&table, rows, out);
}
