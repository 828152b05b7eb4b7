/* SPDX-License-Identifier: MIT */
/* Lines of text that are shown together. */
#include "gateway/ctl_frame.h"

#include "gateway/ctl_text.h"

#include <stdarg.h>
#include <string.h>

static const char *const styles[] = {
    [GW_CTL_PLAIN] = "",        [GW_CTL_TITLE] = "\033[1m",
    [GW_CTL_GOOD] = "\033[32m", [GW_CTL_WARN] = "\033[33m",
    [GW_CTL_BAD] = "\033[31m",
};

void gw_ctl_frame_add(struct gw_ctl_frame *frame, enum gw_ctl_style style,
                      const char *format, ...)
{
    char text[GW_CTL_LINE_MAX];
    va_list args;

    if (frame->count == GW_CTL_LINES_MAX)
        return;
    struct gw_ctl_line *line = &frame->lines[frame->count++];
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    line->style = style;
    gw_ctl_copy(text, line->text, sizeof(line->text));
}

/* What stood there is cleared first: behind a line of the full width it would
 * take its last character along. */
static void draw_line(const struct gw_ctl_line *line,
                      const struct gw_ctl_screen *screen, FILE *out)
{
    size_t len = strlen(line->text);
    bool is_styled = screen->has_escapes && line->style != GW_CTL_PLAIN;

    if (screen->columns > 0 && len > screen->columns)
        len = screen->columns;
    while (len > 0 && line->text[len - 1] == ' ')
        len--;
    fprintf(out, "%s%s%.*s%s", screen->has_escapes ? "\033[K" : "",
            is_styled ? styles[line->style] : "", (int)len, line->text,
            is_styled ? "\033[0m" : "");
}

void gw_ctl_frame_draw(const struct gw_ctl_frame *frame,
                       const struct gw_ctl_screen *screen, FILE *out)
{
    bool is_cut = screen->rows > 0 && frame->count >= screen->rows;
    size_t count = is_cut ? screen->rows : frame->count;

    if (screen->has_escapes)
        fputs("\033[H", out);
    for (size_t i = 0; i < count; i++) {
        draw_line(&frame->lines[i], screen, out);
        /* A line end in the last row would scroll. */
        if (!screen->has_escapes || i + 1 < count || !is_cut)
            fputc('\n', out);
    }
    if (screen->has_escapes && !is_cut)
        fputs("\033[J", out);
}
