/* Calls of estimators in tests: what they are given and what comes out. */
#ifndef TESTS_PLUG_CREDIT_H
#define TESTS_PLUG_CREDIT_H

#include "batch.h"

enum { CREDIT_TOKENS = 512, CREDIT_SEQS = 64 };

typedef struct credits {
    dowel_credit c;
    double advantage[CREDIT_TOKENS], ret[2 * CREDIT_TOKENS];
    double weight[CREDIT_SEQS], label[CREDIT_SEQS];
    int32_t mate[CREDIT_SEQS];
    uint8_t keep[CREDIT_SEQS];
} credits;

/* Calls the estimator of `i`; `heads` 0: no returns are wanted. */
static inline dw_status credit_call(dw_instance *i, batch *t, uint32_t heads, credits *c,
                                    dw_err *err)
{
    assert_true(t->b.n_tok <= CREDIT_TOKENS && t->b.n_seq <= CREDIT_SEQS && heads <= 2);
    memset(c, 0, sizeof *c);
    for (uint32_t s = 0; s < CREDIT_SEQS; s++) {
        c->weight[s] = 1;
        c->mate[s] = -1;
        c->keep[s] = 1;
    }
    c->c = (dowel_credit){.size = sizeof c->c,
                          .ret_width = heads,
                          .advantage = c->advantage,
                          .ret = heads ? c->ret : NULL,
                          .weight = c->weight,
                          .label = c->label,
                          .mate = c->mate,
                          .keep = c->keep};
    t->b.host = dw_instance_host(i);
    return dw_call_estimate(i, &t->b, &c->c, err);
}

static inline void credit_of(dw_instance *i, batch *t, uint32_t heads, credits *c)
{
    dw_err err = {{0}};
    if (credit_call(i, t, heads, c, &err) < 0)
        fail_msg("%s", err.text);
}

static inline void credit_expect(const credits *c, const double *want, size_t n, double tol)
{
    for (size_t k = 0; k < n; k++)
        near(c->advantage[k], want[k], tol);
}

/* A column of `width` values a row, filled with `value`. */
static inline double *wide_column(dw_arena *a, batch *t, uint32_t c, uint32_t width, bool grad,
                                  double value)
{
    dowel_column *k = &t->col[c];
    k->rows = per_sequence(c) ? t->b.n_seq : t->b.n_tok;
    k->width = width;
    double *x = dw_arena_alloc(a, ((size_t)k->rows * width + 1) * sizeof *x);
    for (size_t n = 0; n < (size_t)k->rows * width; n++)
        x[n] = value;
    k->x = x;
    if (grad)
        k->grad = dw_arena_alloc(a, ((size_t)k->rows * width + 1) * sizeof(double));
    return x;
}

static inline void credit_put(double *x, size_t n, const double *v)
{
    memcpy(x, v, n * sizeof *v);
}

/* Answers of these lengths, all in one group. */
static inline batch *answers(dw_arena *a, uint32_t n, const uint32_t *len, const double *reward)
{
    batch *t = batch_make(a, n, len);
    credit_put(column(a, t, DOWEL_REWARD, false), n, reward);
    return t;
}

#endif
