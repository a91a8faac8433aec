/* What `dowel check` asks of rewards and judges: samples of every kind of text, scored alone and
 * together, spans that lie inside, verdicts that are probabilities. */
#include <math.h>
#include <string.h>

#include "plug/check.h"

/* ---- samples ---- */

#define TEXT(s)                                                                                    \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }
static const dowel_text completions[] = {
    TEXT(""),
    TEXT("42"),
    TEXT("The answer is 42."),
    TEXT("<think>seven times six</think><answer>42</answer>"),
    TEXT("<think>\nno end"),
    TEXT("one two two two two two two two two two"),
    TEXT("a\0b\0"),
    TEXT("\xff\xfe broken \xc3"),
    TEXT("Gr\xc3\xbc\xc3\x9f"
         "e, \xe4\xbd\xa0\xe5\xa5\xbd! 3.14 or -7"),
    TEXT("Step 1: add.\n\nStep 2: multiply.\n\n#### 42"),
    TEXT("   \n\t "),
    TEXT("1e999 -0 1,234.5 0x10 nan inf"),
};
enum { N_TEXT = sizeof completions / sizeof *completions, LONG = 20000 };

/* A row with the fields that rewards commonly read, and those that its own options name. */
static dowel_text meta_of(dw_check *c, const dw_setting *set, uint64_t key, uint32_t k)
{
    static const char *const fields[] = {"answer", "solution", "ground_truth", "target", "label"};
    const dowel_plugin *p = &c->info->plugin;
    dw_buf b = {0};
    dw_buf_adds(&b, "{");
    for (size_t f = 0; f < sizeof fields / sizeof *fields; f++)
        dw_buf_printf(&b, "%s\"%s\":\"%llu\"", f ? "," : "", fields[f],
                      (unsigned long long)(k % 2 ? 42 : dw_check_below(c, key, k, 100)));
    for (uint32_t o = 0; o < p->n_params; o++) {
        const dw_json *v = dw_json_get(set->full, p->params[o].name);
        bool known = p->params[o].type != DOWEL_STR || !v || !dw_json_str(v).len;
        for (size_t f = 0; !known && f < sizeof fields / sizeof *fields; f++)
            known = dw_text_is(dw_json_str(v), fields[f]);
        for (uint32_t q = 0; !known && q < o; q++) { /* two options may name one field */
            const dw_json *w = dw_json_get(set->full, p->params[q].name);
            known =
                p->params[q].type == DOWEL_STR && w && dw_text_eq(dw_json_str(w), dw_json_str(v));
        }
        if (known)
            continue;
        dw_buf_adds(&b, ",");
        dw_json_put_str(&b, dw_json_str(v).ptr, dw_json_str(v).len);
        dw_buf_adds(&b, ":\"42\"");
    }
    dw_buf_adds(&b, "}");
    char *copy = dw_arena_strndup(&c->arena, b.ptr, b.len);
    size_t n = b.len;
    dw_buf_finish(&b);
    return (dowel_text){copy, n};
}

static dowel_text text_of(dw_check *c, uint64_t key, uint32_t k)
{
    if (k % (N_TEXT + 1) < N_TEXT)
        return completions[k % (N_TEXT + 1)];
    char *s = dw_arena_alloc(&c->arena, LONG + 1);
    for (uint32_t j = 0; j < LONG; j++)
        s[j] = "etaoin shrdlu\n<>/0123456789."[dw_check_below(c, key + k, j, 28)];
    return (dowel_text){s, LONG};
}

dw_samples dw_check_samples(dw_check *c, const dw_setting *set, uint64_t key, uint32_t n)
{
    dw_samples out = {.s = dw_arena_alloc(&c->arena, (n + 1) * sizeof *out.s),
                      .list = dw_arena_alloc(&c->arena, (n + 1) * sizeof(void *)),
                      .n = n};
    const uint32_t shift = (uint32_t)(key / 100 % N_TEXT);
    for (uint32_t k = 0; k < n; k++) {
        dowel_sample *s = &out.s[k];
        *s = (dowel_sample){.size = sizeof *s,
                            .group = k / 3,
                            .id = key + k,
                            .prompt = TEXT("What is 6 times 7?"),
                            .completion = text_of(c, key, k + shift),
                            .meta = meta_of(c, set, key, k),
                            .stop = 1 + k % 3};
        /* tokens of three bytes, the last one shorter */
        s->n_tok = (uint32_t)((s->completion.len + 2) / 3);
        uint32_t *end = dw_arena_alloc(&c->arena, (s->n_tok + 1) * sizeof *end);
        for (uint32_t t = 0; t < s->n_tok; t++)
            end[t] = t + 1 < s->n_tok ? 3 * (t + 1) : (uint32_t)s->completion.len;
        s->tok_end = end;
        out.list[k] = s;
    }
    return out;
}

/* ---- score ---- */

static void put(dw_check *c, dw_result *r, double x, const char *name)
{
    double *more = dw_arena_alloc(&c->arena, (r->n + 1) * sizeof *more);
    const char **names = dw_arena_alloc(&c->arena, (r->n + 1) * sizeof *names);
    if (r->n) {
        memcpy(more, r->x, r->n * sizeof *more);
        memcpy(names, r->name, r->n * sizeof *names);
    }
    more[r->n] = x;
    names[r->n++] = name;
    r->x = more;
    r->name = names;
}

int dw_check_score(dw_check *c, dw_instance *i, const dowel_sample *const *in, uint32_t n,
                   dw_result *out)
{
    dw_err err = {{0}};
    dw_score_result r;
    if (dw_call_score(i, in, n, &r, &err) < 0) {
        dw_check_fail(c, "%s", err.text);
        return i->answered == DOWEL_E_ARG ? 0 : -1;
    }
    for (uint32_t k = 0; k < n; k++) {
        put(c, out, r.total[k], "a score");
        for (size_t s = 0; s < r.n_span; s++) {
            if (r.span[s].sample != k)
                continue;
            put(c, out, (double)r.span[s].begin, "a span's begin");
            put(c, out, (double)r.span[s].end, "a span's end");
            put(c, out, r.span[s].value, "a span's value");
            put(c, out, r.span[s].credit, "a span's credit");
        }
    }
    dw_score_result_finish(&r);
    return 1;
}

/* Each by itself must give what all together gave; groups stay whole. */
static bool one_by_one(dw_check *c, const dw_setting *set)
{
    dw_samples s = dw_check_samples(c, set, 9500, 3 * (N_TEXT + 1));
    dw_result all = {0}, some = {0};
    dw_instance *i = NULL, *j = NULL;
    dw_opened o = dw_check_open(c, set, NULL, &i);
    if (o != DW_CHECK_OPEN)
        return o == DW_CHECK_REFUSED;
    if (dw_check_open(c, set, NULL, &j) != DW_CHECK_OPEN)
        return false;
    dw_check_now(c, "options %s: %u samples", set->text, s.n);
    int done = dw_check_score(c, i, s.list, s.n, &all);
    if (done != 1)
        return done == 0 && !set->defaults;
    for (uint32_t k = 0; k < s.n; k += 3) /* a group */
        if (dw_check_score(c, j, s.list + k, 3, &some) != 1)
            return false;
    const char *bad = dw_check_differ(c, &all, &some, 0);
    dw_instance_destroy(i);
    dw_instance_destroy(j);
    if (bad)
        return dw_check_fail(c, "options %s: all samples in one call, then group by group: %s",
                             set->text, bad);
    return true;
}

bool dw_test_batch_size(dw_check *c)
{
    dw_setting *s;
    size_t n;
    if (!c->info->plugin.reward)
        return dw_check_skip(c, "it is no reward");
    if (!dw_check_settings(c, DW_CHECK_CHOICES, 12, &s, &n))
        return false;
    for (size_t k = 0; k < n; k++)
        if (!one_by_one(c, &s[k]))
            return false;
    c->found = NULL;
    dw_check_note(c, "%zu settings, %d samples", n, 3 * (N_TEXT + 1));
    return true;
}

/* ---- spans ---- */

/* Every call of span() passes through here; the host would answer DOWEL_E_ARG, which a plugin may
 * well ignore. */
typedef struct watch {
    dowel_scores shown;
    const dowel_sample *const *in;
    dw_check *c;
    size_t spans;
    bool bad;
} watch;

static dowel_status watch_span(dowel_scores *out, uint32_t i, uint64_t begin, uint64_t end,
                               double value, uint32_t credit)
{
    watch *w = (watch *)out;
    w->spans++;
    if (i < out->n && begin < end && end <= w->in[i]->completion.len && isfinite(value) &&
        credit >= DOWEL_CREDIT_LAST && credit <= DOWEL_CREDIT_SPREAD)
        return DOWEL_OK;
    if (!w->bad)
        dw_check_fail(w->c,
                      "span(%u, %llu, %llu, %g, %u): expected a sample below %u, bytes of its "
                      "completion of %llu, a finite value, a DOWEL_CREDIT_*",
                      i, (unsigned long long)begin, (unsigned long long)end, value, credit, out->n,
                      i < out->n ? (unsigned long long)w->in[i]->completion.len : 0ull);
    w->bad = true;
    return DOWEL_E_ARG;
}

static void watch_why(dowel_scores *out, uint32_t i, const char *line)
{
    (void)out, (void)i, (void)line;
}

bool dw_test_spans(dw_check *c)
{
    dw_setting *s;
    size_t n, spans = 0;
    if (!c->info->plugin.reward)
        return dw_check_skip(c, "it is no reward");
    if (!dw_check_settings(c, DW_CHECK_CHOICES, 12, &s, &n))
        return false;
    for (size_t k = 0; k < n; k++) {
        dw_instance *i = NULL;
        dw_call call;
        dw_err err = {{0}};
        dowel_err e = dw_call_err();
        dw_opened o = dw_check_open(c, &s[k], NULL, &i);
        if (o == DW_CHECK_BROKEN)
            return false;
        if (o == DW_CHECK_REFUSED)
            continue;
        dw_samples in = dw_check_samples(c, &s[k], 9700, 2 * (N_TEXT + 1));
        double *total = dw_arena_alloc(&c->arena, in.n * sizeof *total);
        for (uint32_t q = 0; q < in.n; q++)
            total[q] = NAN;
        watch w = {.shown = {.size = sizeof w.shown,
                             .n = in.n,
                             .host = dw_instance_host(i),
                             .total = total,
                             .span = watch_span,
                             .why = watch_why},
                   .in = in.list,
                   .c = c};
        dw_check_now(c, "options %s: spans", s[k].text);
        dw_call_begin(&call, i, "score");
        dowel_status st = c->info->reward.score(i->self, in.list, in.n, &w.shown, &e);
        if (dw_call_end(&call, st, &e, &err) < 0 && st != DOWEL_E_ARG)
            return dw_check_fail(c, "options %s: %s", s[k].text, err.text);
        dw_instance_destroy(i);
        if (w.bad)
            return false;
        spans += w.spans;
    }
    c->found = NULL;
    dw_check_note(c, "%zu spans", spans);
    return true;
}

/* ---- judges ---- */

typedef struct judging {
    dowel_verdicts shown;
} judging;

static void judge_why(dowel_verdicts *out, uint32_t i, const char *line)
{
    (void)out, (void)i, (void)line;
}

int dw_check_compare(dw_check *c, dw_instance *i, const dowel_pair *const *in, uint32_t n,
                     dw_result *out)
{
    dw_call call;
    dw_guarded g = {0};
    dw_err err = {{0}};
    dowel_err e = dw_call_err();
    dw_call_begin(&call, i, "compare");
    double *p = dw_guard_make(&call, &g, NULL, n * sizeof *p);
    for (uint32_t k = 0; k < n; k++)
        p[k] = NAN;
    judging v = {
        {.size = sizeof v.shown, .n = n, .host = dw_instance_host(i), .p = p, .why = judge_why}};
    dowel_status st = c->info->judge.compare(i->self, in, n, &v.shown, &e);
    bool intact = dw_guard_intact(&g);
    for (uint32_t k = 0; st == DOWEL_OK && k < n; k++)
        put(c, out, p[k], "a verdict");
    dw_status end = dw_call_end(&call, st, &e, &err);
    if (!intact)
        dw_check_fail(c, "compare wrote outside the output array p");
    else if (end < 0)
        dw_check_fail(c, "%s", err.text);
    return !intact ? -1 : end == DW_OK ? 1 : st == DOWEL_E_ARG ? 0 : -1;
}

static bool sane(dw_check *c, const dw_setting *set)
{
    dw_samples s = dw_check_samples(c, set, 9900, 2 * (N_TEXT + 1));
    enum { N = N_TEXT + 1 };
    dowel_pair pair[2 * N];
    const dowel_pair *list[2 * N];
    dw_result r = {0};
    dw_instance *i = NULL;
    dw_opened o = dw_check_open(c, set, NULL, &i);
    if (o != DW_CHECK_OPEN)
        return o == DW_CHECK_REFUSED;
    for (uint32_t k = 0; k < 2 * N; k++) { /* k + N: the same two the other way round */
        const dowel_sample *a = &s.s[k % N], *b = &s.s[k % N + N / 2];
        pair[k] = (dowel_pair){.size = sizeof *pair,
                               .id = k % N,
                               .prompt = a->prompt,
                               .first = k < N ? a->completion : b->completion,
                               .second = k < N ? b->completion : a->completion,
                               .meta = a->meta};
        list[k] = &pair[k];
    }
    dw_check_now(c, "options %s: compare", set->text);
    int done = dw_check_compare(c, i, list, 2 * N, &r);
    if (done != 1)
        return done == 0 && !set->defaults;
    for (size_t k = 0; k < 2 * N; k++)
        if (!isnan(r.x[k]) && !(r.x[k] >= 0 && r.x[k] <= 1))
            return dw_check_fail(c,
                                 "options %s: a verdict of %g, expected 0 to 1, or NaN for no "
                                 "opinion",
                                 set->text, r.x[k]);
    for (size_t k = 0; c->info->judge.symmetric && k < N; k++)
        if (isnan(r.x[k]) != isnan(r.x[k + N]) || fabs(r.x[k] + r.x[k + N] - 1) > 1e-9)
            return dw_check_fail(c,
                                 "options %s: it claims to be symmetric, and says %.10g for two "
                                 "answers and %.10g for them in the other order",
                                 set->text, r.x[k], r.x[k + N]);
    dw_instance_destroy(i);
    return true;
}

bool dw_test_judge_sane(dw_check *c)
{
    dw_setting *s;
    size_t n;
    if (!c->info->plugin.judge)
        return dw_check_skip(c, "it is no judge");
    if (!dw_check_settings(c, DW_CHECK_CHOICES, 8, &s, &n))
        return false;
    for (size_t k = 0; k < n; k++)
        if (!sane(c, &s[k]))
            return false;
    c->found = NULL;
    return true;
}
