/* match: does the answer that a pattern finds in the completion equal a field of the row? */
#include <ctype.h>
#include <dowel/plugin.h>
#include <math.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

enum { AUTO = 0, TEXT = 1, NUMBER = 2 };
static const char *const comparisons[] = {"auto", "text", "number", NULL};

struct opts {
    const char *pattern, *field, *field_pattern;
    int64_t compare;
    bool ignore_case;
    double right, wrong;
};

static const dowel_param params[] = {
    DOWEL_OPT_STR(struct opts, pattern, "-?[0-9][0-9.,]*", 0,
                  "POSIX extended regular expression; its last match is the answer."),
    DOWEL_OPT_STR(struct opts, field, "answer", 0,
                  "Field of the row that holds the right answer, by dotted path."),
    DOWEL_OPT_STR(struct opts, field_pattern, "", 0,
                  "Pattern that finds the answer in that field; empty: all of it."),
    DOWEL_OPT_CHOICE(struct opts, compare, "auto", comparisons, 0,
                     "As numbers, as texts, or as numbers where both are."),
    DOWEL_OPT_BOOL(struct opts, ignore_case, "false", 0, "Letters match in either case."),
    DOWEL_OPT_REAL(struct opts, right, "1", -1e6, 1e6, DOWEL_TUNABLE, "Score of a right answer."),
    DOWEL_OPT_REAL(struct opts, wrong, "0", -1e6, 1e6, DOWEL_TUNABLE, "Score of any other."),
};

struct match {
    const struct opts *opts;
    regex_t pattern, field_pattern;
    bool has_field_pattern;
};

enum { GROUPS = 10 };

/* ---- create and destroy ---- */

static dowel_status compile(const struct opts *o, const char *name, const char *text, regex_t *out,
                            dowel_err *err)
{
    char why[128];
    int rc = regcomp(out, text, REG_EXTENDED | (o->ignore_case ? REG_ICASE : 0));
    if (rc == 0)
        return DOWEL_OK;
    regerror(rc, out, why, sizeof why);
    return dowel_fail(err, DOWEL_E_ARG, "%s: '%.200s' is not a regular expression: %s", name, text,
                      why);
}

static dowel_status create(const dowel_host *host, const void *config, void **self, dowel_err *err)
{
    const struct opts *o = config;
    (void)host;
    if (!*o->pattern || !*o->field)
        return dowel_fail(err, DOWEL_E_ARG, "%s is empty", *o->pattern ? "field" : "pattern");
    struct match *m = calloc(1, sizeof *m);
    if (!m)
        return dowel_fail(err, DOWEL_E_NOMEM, "out of memory");
    m->opts = o;
    dowel_status st = compile(o, "pattern", o->pattern, &m->pattern, err);
    if (st < 0) {
        free(m);
        return st;
    }
    if (*o->field_pattern) {
        st = compile(o, "field_pattern", o->field_pattern, &m->field_pattern, err);
        m->has_field_pattern = st == DOWEL_OK;
    }
    if (st < 0) {
        regfree(&m->pattern);
        free(m);
        return st;
    }
    *self = m;
    return DOWEL_OK;
}

static void destroy(void *self)
{
    struct match *m = self;
    regfree(&m->pattern);
    if (m->has_field_pattern)
        regfree(&m->field_pattern);
    free(m);
}

/* ---- finding ---- */

static dowel_text piece(const dowel_text *t, regoff_t begin, regoff_t end)
{
    return (dowel_text){t->ptr + begin, (uint64_t)(end - begin)};
}

/* The last match's last capture group that took part, or the whole match where there is none. */
static bool last_match(const regex_t *re, const dowel_text *t, dowel_text *out)
{
    regmatch_t g[GROUPS];
    regoff_t at = 0, len = (regoff_t)t->len;
    bool found = false;
    while (at <= len) {
        g[0] = (regmatch_t){at, len};
        /* REG_STARTEND: bounds instead of a terminator, so a NUL byte ends nothing */
        if (regexec(re, t->ptr, GROUPS, g, REG_STARTEND | (at > 0 ? REG_NOTBOL : 0)) != 0)
            break;
        size_t k = re->re_nsub < GROUPS ? re->re_nsub : GROUPS - 1;
        while (k > 0 && g[k].rm_so < 0)
            k--;
        *out = piece(t, g[k].rm_so, g[k].rm_eo);
        found = true;
        at = g[0].rm_eo > g[0].rm_so ? g[0].rm_eo : g[0].rm_eo + 1;
    }
    return found;
}

static dowel_text trim(dowel_text t)
{
    while (t.len > 0 && isspace((unsigned char)t.ptr[0])) {
        t.ptr++;
        t.len--;
    }
    while (t.len > 0 && isspace((unsigned char)t.ptr[t.len - 1]))
        t.len--;
    return t;
}

/* ---- comparing ---- */

static bool skip_currency(dowel_text *t)
{
    static const char *const sign[] = {"$", "\xe2\x82\xac", "\xc2\xa3", "\xc2\xa5"};
    for (size_t i = 0; i < sizeof sign / sizeof *sign; i++) {
        size_t n = strlen(sign[i]);
        if (t->len >= n && !memcmp(t->ptr, sign[i], n)) {
            t->ptr += n;
            t->len -= n;
            return true;
        }
    }
    return false;
}

/* "$1,234.50", "-72", "72." and "72%": commas must stand between digits; no hexadecimal, no inf. */
static bool number(dowel_text t, double *out)
{
    char digits[64], *end;
    size_t n = 0;
    t = trim(t);
    while (t.len > 0 && strchr(".,%", t.ptr[t.len - 1]) && t.ptr[t.len - 1])
        t.len--;
    skip_currency(&t);
    if (t.len > 0 && (*t.ptr == '-' || *t.ptr == '+')) {
        digits[n++] = *t.ptr++;
        t.len--;
        skip_currency(&t);
    }
    for (uint64_t i = 0; i < t.len; i++) {
        unsigned char c = (unsigned char)t.ptr[i];
        if (c == ',' && i > 0 && isdigit((unsigned char)t.ptr[i - 1]) && i + 1 < t.len &&
            isdigit((unsigned char)t.ptr[i + 1]))
            continue;
        if (!(isdigit(c) || c == '.' || c == 'e' || c == 'E' || c == '-' || c == '+') ||
            n + 1 >= sizeof digits)
            return false;
        digits[n++] = (char)c;
    }
    digits[n] = 0;
    *out = strtod(digits, &end);
    return n > 0 && end != digits && !*end && isfinite(*out);
}

static unsigned char fold(const struct opts *o, char c)
{
    unsigned char x = (unsigned char)c;
    return o->ignore_case && x >= 'A' && x <= 'Z' ? (unsigned char)(x - 'A' + 'a') : x;
}

static bool same_text(const struct opts *o, dowel_text a, dowel_text b)
{
    if (a.len != b.len)
        return false;
    for (uint64_t i = 0; i < a.len; i++)
        if (fold(o, a.ptr[i]) != fold(o, b.ptr[i]))
            return false;
    return true;
}

/* ---- scoring ---- */

/* What the row says the answer is. */
static dowel_status wanted(const struct match *m, const dowel_host *host, const dowel_sample *s,
                           dowel_text *out, dowel_err *err)
{
    const struct opts *o = m->opts;
    double x;
    if (!host->field(host, &s->meta, o->field, out) ||
        (out->len == 4 && !memcmp(out->ptr, "null", 4)))
        return dowel_fail(err, DOWEL_E_ARG,
                          "the row has no field '%.100s'; name the one that holds the answer",
                          o->field);
    dowel_text whole = *out;
    if (m->has_field_pattern && !last_match(&m->field_pattern, &whole, out))
        return dowel_fail(err, DOWEL_E_ARG, "field '%.60s': '%.100s' has no match of '%.100s'",
                          o->field, whole.ptr, o->field_pattern);
    *out = trim(*out);
    if (o->compare == NUMBER && !number(*out, &x))
        return dowel_fail(err, DOWEL_E_ARG, "field '%.60s': '%.*s' is not a number", o->field,
                          (int)(out->len < 100 ? out->len : 100), out->ptr);
    return DOWEL_OK;
}

static bool equal(const struct opts *o, dowel_text found, dowel_text want)
{
    double x, y;
    if (o->compare != TEXT && number(want, &y)) {
        if (number(found, &x))
            return x == y;
        if (o->compare == NUMBER)
            return false;
    }
    return same_text(o, found, want);
}

static dowel_status score_one(const struct match *m, const dowel_sample *s, uint32_t i,
                              dowel_scores *out, dowel_err *err)
{
    const struct opts *o = m->opts;
    dowel_text want, found;
    char line[256];
    dowel_status st = wanted(m, out->host, s, &want, err);
    if (st < 0)
        return st;
    out->total[i] = o->wrong;
    if (!last_match(&m->pattern, &s->completion, &found)) {
        out->why(out, i, "no match");
        return DOWEL_OK;
    }
    found = trim(found);
    bool same = equal(o, found, want);
    if (same)
        out->total[i] = o->right;
    snprintf(line, sizeof line, "%s: found '%.*s', wanted '%.*s'", same ? "right" : "wrong",
             (int)(found.len < 100 ? found.len : 100), found.ptr,
             (int)(want.len < 100 ? want.len : 100), want.ptr);
    out->why(out, i, line);
    return DOWEL_OK;
}

static dowel_status score(void *self, const dowel_sample *const *in, uint32_t n, dowel_scores *out,
                          dowel_err *err)
{
    for (uint32_t i = 0; i < n; i++) {
        dowel_status st = score_one(self, in[i], i, out, err);
        if (st < 0) {
            err->sample = (int32_t)i;
            return st;
        }
    }
    return DOWEL_OK;
}

static const dowel_reward reward = {.size = sizeof reward, .score = score};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("match", "1.0.0", "Rewards an answer that equals a field of the row.",
                 DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params),
    .create = create,
    .destroy = destroy,
    .reward = &reward,
};
DOWEL_MODULE(&plugin);
