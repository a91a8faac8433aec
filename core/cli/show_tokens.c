/* Tokens as a terminal can show them. */
#include "cli/show_tokens.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char end_of_line[] = "\xe2\x8f\x8e\n", tab[] = "\xe2\x87\xa5";
static const char bar[] = "\xe2\x94\x82", open_arrow[] = "\xe2\x96\xb6",
                  close_arrow[] = "\xe2\x97\x80";

bool dw_show_colour(int fd)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fd) && !(no && *no) && !(term && !strcmp(term, "dumb"));
}

/* Two and three bytes of UTF-8 are enough for what is looked for here. */
static uint32_t code_point(const unsigned char *u, int len)
{
    return len == 2   ? (uint32_t)(u[0] & 0x1f) << 6 | (u[1] & 0x3f)
           : len == 3 ? (uint32_t)(u[0] & 0xf) << 12 | (uint32_t)(u[1] & 0x3f) << 6 | (u[2] & 0x3f)
                      : u[0];
}

static bool steers(uint32_t c)
{
    return (c >= 0x80 && c < 0xa0) || (c >= 0x200b && c <= 0x200f && c != 0x200d) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x2069) || c == 0xfeff;
}

void dw_show_text(dw_buf *out, dw_text text)
{
    for (size_t i = 0; i < text.len;) {
        const unsigned char *u = (const unsigned char *)text.ptr + i;
        const int len = dw_utf8_len(text.ptr + i, text.len - i);
        const uint32_t c = len && len < 4 ? code_point(u, len) : 0x10000;
        if (!len)
            dw_buf_printf(out, "<0x%02X>", u[0]); /* a piece of a character */
        else if (c == '\n')
            dw_buf_adds(out, end_of_line);
        else if (c == '\t')
            dw_buf_adds(out, tab);
        else if (c < 0x20 || c == 0x7f) /* the pictures of control characters */
            dw_buf_printf(out, "\xe2\x90%c", (int)(c == 0x7f ? 0xa1 : 0x80 + c));
        else if (steers(c))
            dw_buf_printf(out, "<U+%04X>", c);
        else
            dw_buf_add(out, text.ptr + i, (size_t)len);
        i += len ? (size_t)len : 1;
    }
}

/* Colours end before a line does, so that none runs on to the edge. */
static void coloured(dw_buf *out, const char *code, dw_text text)
{
    dw_buf plain = {0};
    dw_show_text(&plain, text);
    const char *p = plain.ptr ? plain.ptr : "";
    while (*p) {
        const size_t n = strcspn(p, "\n");
        if (n)
            dw_buf_printf(out, "\033[%sm%.*s\033[0m", code, (int)n, p);
        p += n;
        if (*p == '\n')
            dw_buf_addc(out, *p++);
    }
    dw_buf_finish(&plain);
}

dw_status dw_show_tokens(dw_buf *out, const dw_tokenizer *t, const int32_t *id, size_t n,
                         const unsigned char *mask, bool colour, dw_err *err)
{
    static const char *const code[2][2] = {{"0", "2"}, {"32", "1;32"}};
    dw_buf piece = {0};
    dw_status st = DW_OK;
    for (size_t i = 0; i < n && !st; i++) {
        const bool trained = mask && mask[i], before = mask && i && mask[i - 1];
        dw_buf_clear(&piece);
        st = dw_tokenizer_piece(t, id[i], &piece, err);
        if (st)
            break;
        if (colour) {
            coloured(out, code[trained][i & 1], dw_buf_text(&piece));
            continue;
        }
        if (before && !trained)
            dw_buf_adds(out, close_arrow);
        else if (trained && !before)
            dw_buf_adds(out, open_arrow);
        else if (i)
            dw_buf_adds(out, bar);
        dw_show_text(out, dw_buf_text(&piece));
    }
    if (!colour && !st && mask && n && mask[n - 1])
        dw_buf_adds(out, close_arrow);
    dw_buf_finish(&piece);
    return st;
}
