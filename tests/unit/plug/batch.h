/* Small batches for tests of objectives: columns by number, slices, and a store for metrics. */
#ifndef TESTS_PLUG_BATCH_H
#define TESTS_PLUG_BATCH_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/rng.h"
#include "plug/plug.h"

typedef struct fixture {
    dw_arena arena;
    dw_registry *reg;
} fixture;

typedef struct metric {
    char name[64];
    uint32_t fold;
    double sum, weight, least, most;
} metric;

typedef struct metrics {
    metric m[64];
    size_t n;
} metrics;

static inline void collect_metric(void *ctx, const char *instance, const char *name, uint32_t fold,
                                  double value, double weight)
{
    metrics *all = ctx;
    size_t i = 0;
    (void)instance;
    while (i < all->n && strcmp(all->m[i].name, name) != 0)
        i++;
    assert_true(i < 64);
    metric *m = &all->m[i];
    if (i == all->n) {
        all->n++;
        snprintf(m->name, sizeof m->name, "%s", name);
        *m = (metric){.fold = fold, .least = INFINITY, .most = -INFINITY};
        snprintf(m->name, sizeof m->name, "%s", name);
    }
    m->sum += value * (fold == DOWEL_MEAN ? weight : 1);
    m->weight += weight;
    m->least = fmin(m->least, value);
    m->most = fmax(m->most, value);
}

static inline double metric_of(const metrics *all, const char *name)
{
    for (size_t i = 0; i < all->n; i++) {
        const metric *m = &all->m[i];
        if (strcmp(m->name, name) == 0)
            return m->fold == DOWEL_MEAN  ? m->sum / m->weight
                   : m->fold == DOWEL_SUM ? m->sum
                   : m->fold == DOWEL_MIN ? m->least
                                          : m->most;
    }
    fail_msg("no metric %s", name);
    return NAN;
}

typedef struct batch {
    dowel_batch b;
    dowel_column col[49];
    uint32_t *start, *from, *mark_start;
    uint8_t *mask, *role, *stop, *mark;
    int32_t *mate, *group;
    uint64_t *id;
} batch;

static inline bool per_sequence(uint32_t c)
{
    return (c >= DOWEL_WEIGHT && c <= DOWEL_REWARD) || c == DOWEL_RANK || c == DOWEL_FIELD;
}

static inline bool per_mark(uint32_t c)
{
    return c == DOWEL_SCORE || c == DOWEL_CHOICES || c == DOWEL_MARK_LABEL;
}

/* Where the rows of sequence s begin in column c; row n_seq is where the column ends. */
static inline uint32_t first_row(const batch *t, uint32_t c, uint32_t s)
{
    return per_sequence(c) ? s : per_mark(c) ? t->mark_start[s] : t->start[s];
}

/* All tokens count, every sequence weighs 1 and stands alone. */
static inline batch *batch_make(dw_arena *a, uint32_t n_seq, const uint32_t *len)
{
    batch *t = dw_arena_alloc(a, sizeof *t);
    t->start = dw_arena_alloc(a, (n_seq + 1) * sizeof *t->start);
    for (uint32_t s = 0; s < n_seq; s++)
        t->start[s + 1] = t->start[s] + len[s];
    uint32_t n_tok = t->start[n_seq];
    t->mask = dw_arena_alloc(a, n_tok + 1);
    memset(t->mask, 1, n_tok);
    t->role = dw_arena_alloc(a, n_seq + 1);
    t->stop = dw_arena_alloc(a, n_seq + 1);
    t->mark = dw_arena_alloc(a, n_tok + 1);
    t->mark_start = dw_arena_alloc(a, (n_seq + 1) * sizeof *t->mark_start);
    t->from = dw_arena_alloc(a, (n_seq + 1) * sizeof *t->from);
    t->mate = dw_arena_alloc(a, (n_seq + 1) * sizeof *t->mate);
    t->group = dw_arena_alloc(a, (n_seq + 1) * sizeof *t->group);
    t->id = dw_arena_alloc(a, (n_seq + 1) * sizeof *t->id);
    for (uint32_t s = 0; s < n_seq; s++) {
        t->mate[s] = -1;
        t->id[s] = s;
        t->from[s] = s;
    }
    t->b = (dowel_batch){.size = sizeof t->b,
                         .n_seq = n_seq,
                         .n_tok = n_tok,
                         .n_col = 49,
                         .step_seqs = n_seq ? n_seq : 1,
                         .step_toks = n_tok ? n_tok : 1,
                         .max_tok = 10,
                         .temperature = 1,
                         .start = t->start,
                         .mask = t->mask,
                         .mark = t->mark,
                         .mark_start = t->mark_start,
                         .mate = t->mate,
                         .group = t->group,
                         .stop = t->stop,
                         .role = t->role,
                         .id = t->id,
                         .col = t->col};
    return t;
}

/* The writable values of a column of several channels, allocated at the first call. */
static inline double *column_wide(dw_arena *a, batch *t, uint32_t c, uint32_t width, bool grad)
{
    dowel_column *k = &t->col[c];
    if (!k->x) {
        k->rows = first_row(t, c, t->b.n_seq);
        k->width = width;
        size_t bytes = ((size_t)k->rows * width + 1) * sizeof(double);
        k->x = dw_arena_alloc(a, bytes);
        if (grad)
            k->grad = dw_arena_alloc(a, bytes);
        if (c == DOWEL_WEIGHT)
            for (uint32_t s = 0; s < k->rows; s++)
                ((double *)k->x)[s] = 1;
    }
    return (double *)k->x;
}

static inline double *column(dw_arena *a, batch *t, uint32_t c, bool grad)
{
    return column_wide(a, t, c, 1, grad);
}

/* Recounts what the host would: after the mask was changed. */
static inline void batch_count(batch *t)
{
    double seqs = 0, toks = 0;
    for (uint32_t s = 0; s < t->b.n_seq; s++) {
        uint32_t n = dowel_seq_len(&t->b, s);
        toks += n;
        seqs += n > 0;
    }
    t->b.step_seqs = seqs > 0 ? seqs : 1;
    t->b.step_toks = toks > 0 ? toks : 1;
}

static inline void copy_column(dw_arena *a, const batch *t, batch *p, uint32_t c)
{
    const dowel_column *k = &t->col[c];
    if (!k->x)
        return;
    double *x = column_wide(a, p, c, k->width, k->grad != NULL);
    for (uint32_t s = 0; s < p->b.n_seq; s++) {
        uint32_t to = first_row(p, c, s), rows = first_row(p, c, s + 1) - to;
        if (rows > 0)
            memcpy(x + (size_t)to * k->width, k->x + (size_t)first_row(t, c, p->from[s]) * k->width,
                   (size_t)rows * k->width * sizeof *x);
    }
}

/* The given sequences of t, in that order, as a part of t's step. */
static inline batch *batch_part(dw_arena *a, const batch *t, const uint32_t *seq, uint32_t n)
{
    uint32_t *len = dw_arena_alloc(a, (n + 1) * sizeof *len);
    for (uint32_t s = 0; s < n; s++)
        len[s] = t->start[seq[s] + 1] - t->start[seq[s]];
    batch *p = batch_make(a, n, len);
    p->b.step_seqs = t->b.step_seqs;
    p->b.step_toks = t->b.step_toks;
    p->b.max_tok = t->b.max_tok;
    p->b.total = t->b.total;
    for (uint32_t s = 0; s < n; s++) {
        p->from[s] = seq[s];
        p->group[s] = t->group[seq[s]];
        p->role[s] = t->role[seq[s]];
        p->stop[s] = t->stop[seq[s]];
        p->id[s] = t->id[seq[s]];
        memcpy(p->mask + p->start[s], t->mask + t->start[seq[s]], len[s]);
        memcpy(p->mark + p->start[s], t->mark + t->start[seq[s]], len[s]);
        p->mark_start[s + 1] = p->mark_start[s] + t->mark_start[seq[s] + 1] - t->mark_start[seq[s]];
        for (uint32_t o = 0; o < n; o++)
            if (t->mate[seq[s]] == (int32_t)seq[o])
                p->mate[s] = (int32_t)o;
    }
    for (uint32_t c = 0; c < 49; c++)
        copy_column(a, t, p, c);
    return p;
}

/* Adds a part's derivatives of column c into the whole's place for them. */
static inline void gather(const batch *part, uint32_t c, const batch *whole, double *into)
{
    const dowel_column *col = &part->col[c];
    for (uint32_t s = 0; col->grad && s < part->b.n_seq; s++) {
        size_t from = (size_t)first_row(part, c, s) * col->width;
        size_t n = (size_t)first_row(part, c, s + 1) * col->width - from;
        size_t to = (size_t)first_row(whole, c, part->from[s]) * col->width;
        for (size_t k = 0; k < n; k++)
            into[to + k] += col->grad[from + k];
    }
}

static inline double uniform(uint64_t key, uint64_t i, double lo, double hi)
{
    return lo + (hi - lo) * dw_random_unit(7, DW_RNG_TEST, key, i);
}

static inline int setup_registry(void **state)
{
    dw_err err;
    fixture *f = calloc(1, sizeof *f);
    if (dw_registry_create(NULL, 0, &f->reg, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    *state = f;
    return 0;
}

static inline int teardown_registry(void **state)
{
    fixture *f = *state;
    dw_registry_destroy(f->reg);
    dw_arena_finish(&f->arena);
    free(f);
    return 0;
}

/* An instance of plugin `id` with options as JSON text. */
static inline dw_instance *instance_make(fixture *f, const char *id, const char *options,
                                         metrics *m)
{
    dw_err err = {{0}};
    const dw_plugin_info *p;
    dw_json *given = NULL, *full = NULL;
    dw_buf text = {0};
    dw_instance *i = NULL;
    if (dw_registry_find(f->reg, id, NULL, &p, &err) < 0)
        fail_msg("%s", err.text);
    if (options)
        assert_int_equal(dw_json_parse(options, strlen(options), 8, 1, &given, &err), 0);
    if (dw_options_check(p, given, NULL, &text, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(dw_json_parse(text.ptr, text.len, 8, 1, &full, &err), 0);
    dw_instance_spec spec = {.info = p,
                             .name = "t",
                             .options = full,
                             .seed = 3,
                             .metric = m ? collect_metric : NULL,
                             .metric_ctx = m};
    if (dw_instance_create(&spec, &i, &err) < 0)
        fail_msg("%s", err.text);
    dw_json_free(given);
    dw_json_free(full);
    dw_buf_finish(&text);
    return i;
}

/* The loss of a batch; derivatives go to its columns, zeroed before. A batch without totals is a
 * step of its own and is surveyed first. */
static inline double loss_of(dw_instance *i, batch *t)
{
    dw_err err = {{0}};
    double loss = 0, total[64] = {0};
    const double *given = t->b.total;
    for (uint32_t c = 0; c < 49; c++)
        if (t->col[c].grad)
            memset(t->col[c].grad, 0, (size_t)t->col[c].rows * t->col[c].width * sizeof(double));
    t->b.host = dw_instance_host(i);
    if (!given && dw_call_survey(i, &t->b, total, &err) < 0)
        fail_msg("%s", err.text);
    t->b.total = given ? given : total;
    if (dw_call_loss(i, &t->b, &loss, &err) < 0)
        fail_msg("%s", err.text);
    t->b.total = given;
    return loss;
}

static inline void near(double got, double want, double tol)
{
    if (!(fabs(got - want) <= tol * fmax(1, fabs(want))))
        fail_msg("got %.12g, wanted %.12g", got, want);
}

/* Sequences 2k and 2k + 1 become the wanted and the unwanted half of a pair of their own group. */
static inline void batch_pairs(dw_arena *a, batch *t)
{
    double *label = column(a, t, DOWEL_LABEL, false);
    for (uint32_t s = 0; s + 1 < t->b.n_seq; s += 2) {
        t->mate[s] = (int32_t)s + 1;
        t->mate[s + 1] = (int32_t)s;
        t->group[s] = t->group[s + 1] = (int32_t)s / 2;
        label[s] = 1;
        label[s + 1] = -1;
    }
}

/* Marks the last n[s] tokens of every sequence; call it before the columns of marks are made. */
static inline void mark_last(batch *t, const uint32_t *n)
{
    for (uint32_t s = 0; s < t->b.n_seq; s++) {
        t->mark_start[s + 1] = t->mark_start[s] + n[s];
        memset(t->mark + t->start[s + 1] - n[s], 1, n[s]);
    }
}

/* What survey() finds in the batch, as the totals of a whole step. */
static inline void survey_of(dw_instance *i, batch *t, dw_arena *a)
{
    dw_err err = {{0}};
    double *sum = dw_arena_alloc(a, 64 * sizeof *sum);
    t->b.host = dw_instance_host(i);
    if (dw_call_survey(i, &t->b, sum, &err) < 0)
        fail_msg("%s", err.text);
    t->b.total = sum;
}

#endif
