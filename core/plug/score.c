/* The reward's call: scores, spans and reasons of a list of samples. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "plug/internal.h"

/* `shown` comes first: the plugin's functions get its address back. */
typedef struct scoring {
    dowel_scores shown;
    uint64_t canary;
    dw_score_result *result;
    const dowel_sample *const *in;
    size_t cap_span;
    pthread_mutex_t lock;
} scoring;

static dowel_status add_span(dowel_scores *out, uint32_t i, uint64_t begin, uint64_t end,
                             double value, uint32_t credit)
{
    scoring *s = (scoring *)out;
    dw_score_result *r = s->result;
    if (i >= r->n || begin >= end || end > s->in[i]->completion.len || !isfinite(value) ||
        credit < DOWEL_CREDIT_LAST || credit > DOWEL_CREDIT_SPREAD)
        return DOWEL_E_ARG;
    pthread_mutex_lock(&s->lock);
    DW_GROW(r->span, r->n_span, s->cap_span);
    r->span[r->n_span++] = (dw_span){i, credit, begin, end, value};
    pthread_mutex_unlock(&s->lock);
    return DOWEL_OK;
}

static void add_why(dowel_scores *out, uint32_t i, const char *line)
{
    scoring *s = (scoring *)out;
    if (i >= s->result->n || !line)
        return;
    pthread_mutex_lock(&s->lock);
    dw_free(s->result->why[i]);
    s->result->why[i] = dw_strndup(line, strcspn(line, "\n"));
    pthread_mutex_unlock(&s->lock);
}

static dw_status check(dw_call *c, const scoring *s, const double *total, dw_err *err)
{
    const dowel_reward *w = &c->of->info->reward;
    bool declared = w->lowest != 0 || w->highest != 0;
    for (uint32_t i = 0; i < s->result->n; i++) {
        if (isinf(total[i]))
            return dw_call_refuse(c, DW_E_NUMERIC, err,
                                  "sample %u (id %" PRIu64 "): the score is %g, expected a finite "
                                  "number or NaN for no opinion",
                                  i, s->in[i]->id, total[i]);
        if (declared && (total[i] < w->lowest || total[i] > w->highest))
            return dw_call_refuse(c, DW_E_PLUGIN, err,
                                  "sample %u (id %" PRIu64 "): the score %.15g is outside the "
                                  "declared %g .. %g",
                                  i, s->in[i]->id, total[i], w->lowest, w->highest);
    }
    return DW_OK;
}

static dw_status check_table(dw_call *c, const scoring *s, const dw_guarded *g, dw_err *err)
{
    if (!dw_guard_intact(g))
        return dw_call_refuse(c, DW_E_PLUGIN, err,
                              "wrote outside the output array total (%u samples came in); memory "
                              "may be damaged, so the run stops",
                              s->result->n);
    if (s->canary != UINT64_C(0x5ca1ab1e0ddba11) || s->shown.total != g->data ||
        s->shown.n != s->result->n)
        return dw_call_refuse(c, DW_E_PLUGIN, err,
                              "changed the dowel_scores themselves; write into total");
    return DW_OK;
}

static dw_status run(dw_instance *inst, scoring *s, dw_err *err)
{
    dw_call c;
    dw_guarded g = {0};
    dowel_err e = dw_call_err();
    dw_score_result *r = s->result;
    dw_call_begin(&c, inst, "score");
    double *total = dw_guard_make(&c, &g, NULL, r->n * sizeof *total);
    for (uint32_t i = 0; i < r->n; i++)
        total[i] = NAN;
    s->shown.total = total;
    dowel_status st = inst->info->reward.score(inst->self, s->in, r->n, &s->shown, &e);
    DW_TRY(check_table(&c, s, &g, err));
    if (st == DOWEL_OK) {
        DW_TRY(check(&c, s, total, err));
        memcpy(r->total, total, g.bytes);
    }
    return dw_call_end(&c, st, &e, err);
}

dw_status dw_call_score(dw_instance *i, const dowel_sample *const *in, uint32_t n,
                        dw_score_result *out, dw_err *err)
{
    *out = (dw_score_result){.n = n};
    if (n == 0)
        return DW_OK;
    out->total = dw_zalloc(n, sizeof *out->total);
    out->why = dw_zalloc(n, sizeof *out->why);
    scoring s = {.shown = {.size = sizeof s.shown,
                           .n = n,
                           .host = &i->host,
                           .span = add_span,
                           .why = add_why},
                 .canary = UINT64_C(0x5ca1ab1e0ddba11),
                 .result = out,
                 .in = in};
    pthread_mutex_init(&s.lock, NULL);
    dw_status st = run(i, &s, err);
    pthread_mutex_destroy(&s.lock);
    if (st < 0)
        dw_score_result_finish(out);
    return st;
}

void dw_score_result_finish(dw_score_result *r)
{
    for (uint32_t i = 0; r->why && i < r->n; i++)
        dw_free(r->why[i]);
    dw_free(r->total);
    dw_free(r->why);
    dw_free(r->span);
    *r = (dw_score_result){0};
}
