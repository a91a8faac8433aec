/* The estimator's call: rewards to advantages, weights, labels and pairs, checked before they are
 * believed. */
#include <math.h>
#include <string.h>

#include "base/size.h"
#include "plug/internal.h"

typedef struct guards {
    dw_guarded advantage, ret, weight, label, mate, keep;
} guards;

static dowel_credit make(dw_call *c, guards *g, const dowel_batch *in, const dowel_credit *out)
{
    dowel_credit s = *out;
    size_t tok = in->n_tok, seq = in->n_seq;
    s.advantage = dw_guard_make(c, &g->advantage, out->advantage, tok * sizeof(double));
    if (out->ret)
        s.ret = dw_guard_make(c, &g->ret, out->ret, tok * out->ret_width * sizeof(double));
    s.weight = dw_guard_make(c, &g->weight, out->weight, seq * sizeof(double));
    s.label = dw_guard_make(c, &g->label, out->label, seq * sizeof(double));
    s.mate = dw_guard_make(c, &g->mate, out->mate, seq * sizeof(int32_t));
    s.keep = dw_guard_make(c, &g->keep, out->keep, seq);
    return s;
}

static const char *damaged(const guards *g)
{
    return !dw_guard_intact(&g->advantage) ? "advantage"
           : !dw_guard_intact(&g->ret)     ? "ret"
           : !dw_guard_intact(&g->weight)  ? "weight"
           : !dw_guard_intact(&g->label)   ? "label"
           : !dw_guard_intact(&g->mate)    ? "mate"
           : !dw_guard_intact(&g->keep)    ? "keep"
                                           : NULL;
}

static dw_status check_sequence(dw_call *c, const dowel_batch *in, const dowel_credit *s,
                                uint32_t q, dw_err *err)
{
    int32_t m = s->mate[q];
    if (!isfinite(s->weight[q]))
        return dw_call_refuse(c, DW_E_NUMERIC, err,
                              "the weight of sequence %u is %g, expected a finite number", q,
                              s->weight[q]);
    if (!(s->label[q] == 0 || fabs(s->label[q]) == 1))
        return dw_call_refuse(c, DW_E_PLUGIN, err,
                              "the label of sequence %u is %g, expected -1, 0 or 1", q,
                              s->label[q]);
    if (m != -1 &&
        (m < 0 || (uint32_t)m >= in->n_seq || (uint32_t)m == q || s->mate[m] != (int32_t)q))
        return dw_call_refuse(c, DW_E_PLUGIN, err,
                              "the mate of sequence %u is %d, expected -1 or one that names it "
                              "back",
                              q, m);
    if (s->keep[q] > 1)
        return dw_call_refuse(c, DW_E_PLUGIN, err, "keep of sequence %u is %u, expected 0 or 1", q,
                              s->keep[q]);
    return DW_OK;
}

/* A return is a finite number, or what the caller put there. */
static bool is_return(const dowel_credit *given, const dowel_credit *s, size_t i)
{
    return isfinite(s->ret[i]) || dw_bits(s->ret[i]) == dw_bits(given->ret[i]);
}

static dw_status check(dw_call *c, const dowel_batch *in, const dowel_credit *given,
                       const dowel_credit *s, dw_err *err)
{
    for (uint32_t t = 0; t < in->n_tok; t++) {
        if (!isfinite(s->advantage[t]))
            return dw_call_refuse(c, DW_E_NUMERIC, err,
                                  "the advantage of token %u is %g, expected a finite number", t,
                                  s->advantage[t]);
        for (uint32_t k = 0; s->ret && k < s->ret_width; k++)
            if (!is_return(given, s, (size_t)t * s->ret_width + k))
                return dw_call_refuse(c, DW_E_NUMERIC, err,
                                      "the return of token %u is not a finite number", t);
    }
    for (uint32_t q = 0; q < in->n_seq; q++)
        DW_TRY(check_sequence(c, in, s, q, err));
    return DW_OK;
}

dw_status dw_call_estimate(dw_instance *i, const dowel_batch *rollout, dowel_credit *out,
                           dw_err *err)
{
    dw_call c;
    guards g = {0};
    dowel_err e = dw_call_err();
    dw_call_begin(&c, i, "estimate");
    dowel_credit s = make(&c, &g, rollout, out);
    const dowel_credit given = s;
    dowel_status st = i->info->estimator.estimate(i->self, rollout, &s, &e);
    if (damaged(&g))
        return dw_call_refuse(&c, DW_E_PLUGIN, err,
                              "wrote outside the output array %s; memory may be damaged, so the "
                              "run stops",
                              damaged(&g));
    if (memcmp(&s, &given, sizeof s) != 0)
        return dw_call_refuse(&c, DW_E_PLUGIN, err,
                              "exchanged the output arrays themselves; write into them");
    if (st == DOWEL_OK) {
        DW_TRY(check(&c, rollout, out, &s, err));
        memcpy(out->advantage, s.advantage, g.advantage.bytes);
        if (out->ret)
            memcpy(out->ret, s.ret, g.ret.bytes);
        memcpy(out->weight, s.weight, g.weight.bytes);
        memcpy(out->label, s.label, g.label.bytes);
        memcpy(out->mate, s.mate, g.mate.bytes);
        memcpy(out->keep, s.keep, g.keep.bytes);
    }
    return dw_call_end(&c, st, &e, err);
}
