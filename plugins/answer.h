/* Is the answer that a pattern finds in a completion the one that stands in a field of the row? */
#ifndef DOWEL_PLUGINS_ANSWER_H
#define DOWEL_PLUGINS_ANSWER_H

#include <dowel/plugin.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "number.h"

enum { ANSWER_AUTO = 0, ANSWER_TEXT = 1, ANSWER_NUMBER = 2 };
static const char *const answer_comparisons[] = {"auto", "text", "number", NULL};

#define ANSWER_FIELDS                                                                              \
    const char *pattern, *field, *field_pattern;                                                   \
    int64_t compare;                                                                               \
    bool ignore_case
struct answer_opts {
    ANSWER_FIELDS;
};
#define ANSWER_EMBEDDED                                                                            \
    union {                                                                                        \
        struct {                                                                                   \
            ANSWER_FIELDS;                                                                         \
        };                                                                                         \
        struct answer_opts answer;                                                                 \
    }
#define ANSWER_PARAMS(S)                                                                           \
    DOWEL_OPT_STR(S, pattern, "-?[0-9][0-9.,]*", 0,                                                \
                  "POSIX extended regular expression; its last match is the answer."),             \
        DOWEL_OPT_STR(S, field, "answer", 0,                                                       \
                      "Field of the row that holds the right answer, by dotted path."),            \
        DOWEL_OPT_STR(S, field_pattern, "", 0,                                                     \
                      "Pattern that finds the answer in that field; empty: all of it."),           \
        DOWEL_OPT_CHOICE(S, compare, "auto", answer_comparisons, 0,                                \
                         "As numbers, as texts, or as numbers where both are."),                   \
        DOWEL_OPT_BOOL(S, ignore_case, "false", 0, "Letters match in either case.")

struct answer {
    const struct answer_opts *opts;
    regex_t pattern, field_pattern;
    bool has_field_pattern;
};

enum { ANSWER_GROUPS = 10 };

/* ---- create and destroy ---- */

static inline dowel_status answer_compile(const struct answer_opts *o, const char *name,
                                          const char *text, regex_t *out, dowel_err *err)
{
    char why[128];
    int rc = regcomp(out, text, REG_EXTENDED | (o->ignore_case ? REG_ICASE : 0));
    if (rc == 0)
        return DOWEL_OK;
    regerror(rc, out, why, sizeof why);
    return dowel_fail(err, DOWEL_E_ARG, "%s: '%.200s' is not a regular expression: %s", name, text,
                      why);
}

static inline dowel_status answer_create(const struct answer_opts *o, struct answer **out,
                                         dowel_err *err)
{
    if (!*o->pattern || !*o->field)
        return dowel_fail(err, DOWEL_E_ARG, "%s is empty", *o->pattern ? "field" : "pattern");
    struct answer *m = calloc(1, sizeof *m);
    if (!m)
        return dowel_fail(err, DOWEL_E_NOMEM, "out of memory");
    m->opts = o;
    dowel_status st = answer_compile(o, "pattern", o->pattern, &m->pattern, err);
    if (st < 0) {
        free(m);
        return st;
    }
    if (*o->field_pattern) {
        st = answer_compile(o, "field_pattern", o->field_pattern, &m->field_pattern, err);
        m->has_field_pattern = st == DOWEL_OK;
    }
    if (st < 0) {
        regfree(&m->pattern);
        free(m);
        return st;
    }
    *out = m;
    return DOWEL_OK;
}

static inline void answer_destroy(struct answer *m)
{
    regfree(&m->pattern);
    if (m->has_field_pattern)
        regfree(&m->field_pattern);
    free(m);
}

/* ---- finding ---- */

static inline dowel_text answer_piece(const dowel_text *t, regoff_t begin, regoff_t end)
{
    return (dowel_text){t->ptr + begin, (uint64_t)(end - begin)};
}

/* The last match's last capture group that took part, or the whole match where there is none. */
static inline bool answer_find(const regex_t *re, const dowel_text *t, dowel_text *out)
{
    regmatch_t g[ANSWER_GROUPS];
    regoff_t at = 0, len = (regoff_t)t->len;
    bool found = false;
    while (at <= len) {
        g[0] = (regmatch_t){at, len};
        /* REG_STARTEND: bounds instead of a terminator, so a NUL byte ends nothing */
        if (regexec(re, t->ptr, ANSWER_GROUPS, g, REG_STARTEND | (at > 0 ? REG_NOTBOL : 0)) != 0)
            break;
        size_t k = re->re_nsub < ANSWER_GROUPS ? re->re_nsub : ANSWER_GROUPS - 1;
        while (k > 0 && g[k].rm_so < 0)
            k--;
        *out = answer_piece(t, g[k].rm_so, g[k].rm_eo);
        found = true;
        at = g[0].rm_eo > g[0].rm_so ? g[0].rm_eo : g[0].rm_eo + 1;
    }
    return found;
}

/* ---- comparing ---- */

static inline unsigned char answer_fold(const struct answer_opts *o, char c)
{
    unsigned char x = (unsigned char)c;
    return o->ignore_case && x >= 'A' && x <= 'Z' ? (unsigned char)(x - 'A' + 'a') : x;
}

static inline bool answer_same(const struct answer_opts *o, dowel_text a, dowel_text b)
{
    if (a.len != b.len)
        return false;
    for (uint64_t i = 0; i < a.len; i++)
        if (answer_fold(o, a.ptr[i]) != answer_fold(o, b.ptr[i]))
            return false;
    return true;
}

/* ---- scoring ---- */

/* What the row says the answer is. */
static inline dowel_status answer_wanted(const struct answer *m, const dowel_host *host,
                                         const dowel_sample *s, dowel_text *out, dowel_err *err)
{
    const struct answer_opts *o = m->opts;
    double x;
    if (!host->field(host, &s->meta, o->field, out) ||
        (out->len == 4 && !memcmp(out->ptr, "null", 4)))
        return dowel_fail(err, DOWEL_E_ARG,
                          "the row has no field '%.100s'; name the one that holds the answer",
                          o->field);
    dowel_text whole = *out;
    if (m->has_field_pattern && !answer_find(&m->field_pattern, &whole, out))
        return dowel_fail(err, DOWEL_E_ARG, "field '%.60s': '%.100s' has no match of '%.100s'",
                          o->field, whole.ptr, o->field_pattern);
    *out = text_trim(*out);
    if (o->compare == ANSWER_NUMBER && !text_number(*out, &x))
        return dowel_fail(err, DOWEL_E_ARG, "field '%.60s': '%.*s' is not a number", o->field,
                          (int)(out->len < 100 ? out->len : 100), out->ptr);
    return DOWEL_OK;
}

static inline bool answer_equal(const struct answer_opts *o, dowel_text found, dowel_text want)
{
    double x, y;
    if (o->compare != ANSWER_TEXT && text_number(want, &y)) {
        if (text_number(found, &x))
            return x == y;
        if (o->compare == ANSWER_NUMBER)
            return false;
    }
    return answer_same(o, found, want);
}

/* Finds out about sample s; `line` says why, for people. */
static inline dowel_status answer_right(const struct answer *m, const dowel_host *host,
                                        const dowel_sample *s, bool *right, char line[256],
                                        dowel_err *err)
{
    dowel_text want, found;
    dowel_status st = answer_wanted(m, host, s, &want, err);
    if (st < 0)
        return st;
    *right = false;
    if (!answer_find(&m->pattern, &s->completion, &found)) {
        snprintf(line, 256, "no match");
        return DOWEL_OK;
    }
    found = text_trim(found);
    *right = answer_equal(m->opts, found, want);
    snprintf(line, 256, "%s: found '%.*s', wanted '%.*s'", *right ? "right" : "wrong",
             (int)(found.len < 100 ? found.len : 100), found.ptr,
             (int)(want.len < 100 ? want.len : 100), want.ptr);
    return DOWEL_OK;
}

#endif
