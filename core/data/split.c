/* The prompt inside both halves of a pair: by a marker, a turn header, a blank line or a word. */
#include "data/split.h"

#include <string.h>
#include <strings.h>

static size_t common_prefix(dw_text a, dw_text b)
{
    size_t n = a.len < b.len ? a.len : b.len, i = 0;
    while (i < n && a.ptr[i] == b.ptr[i])
        i++;
    /* Not in the middle of a character. */
    while (i > 0 && i < a.len && ((unsigned char)a.ptr[i] & 0xc0) == 0x80)
        i--;
    return i;
}

/* End of the last `word` that lies in text[0, n), or 0. */
static size_t after_last(const char *text, size_t n, const char *word, size_t len)
{
    for (size_t end = n; len && end >= len; end--)
        if (!memcmp(text + end - len, word, len))
            return end;
    return 0;
}

/* Length of a turn header at the start of a line, with its colon, or 0. */
static size_t header(const char *p, size_t n)
{
    static const char *const role[] = {
        "human",       "assistant", "user",     "system",   "bot",      "chatbot", "ai",
        "model",       "gpt",       "question", "answer",   "q",        "a",       "prompt",
        "instruction", "input",     "output",   "response", "customer", "agent",
    };
    size_t i = 0;
    while (i < n && i < 4 && (p[i] == '#' || p[i] == ' '))
        i++;
    for (size_t k = 0; k < sizeof role / sizeof *role; k++) {
        size_t len = strlen(role[k]);
        if (i + len < n && p[i + len] == ':' && !strncasecmp(p + i, role[k], len))
            return i + len + 1;
    }
    return 0;
}

static size_t after_last_header(const char *text, size_t n)
{
    for (size_t at = n; at-- > 0;) {
        size_t len = at == 0 || text[at - 1] == '\n' ? header(text + at, n - at) : 0;
        if (len)
            return at + len;
    }
    return 0;
}

static size_t before_word(const char *text, size_t n)
{
    while (n > 0 && !strchr(" \n\t\r", text[n - 1]))
        n--;
    while (n > 0 && text[n - 1] == ' ')
        n--;
    return n;
}

size_t dw_split_prompt(dw_text chosen, dw_text rejected, const char *marker, bool *by_marker)
{
    size_t n = common_prefix(chosen, rejected), cut;
    *by_marker = false;
    /* Both halves keep at least one byte. */
    size_t shorter = chosen.len < rejected.len ? chosen.len : rejected.len;
    if (!shorter)
        return 0;
    size_t room = n < shorter ? n : shorter - 1;
    if (marker && (cut = after_last(chosen.ptr, room, marker, strlen(marker)))) {
        *by_marker = true;
        return cut;
    }
    if ((cut = after_last_header(chosen.ptr, room)) ||
        (cut = after_last(chosen.ptr, room, "\n\n", 2)))
        return cut;
    return before_word(chosen.ptr, room);
}
