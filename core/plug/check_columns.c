/* What stands in the columns of `dowel check`'s random steps. */
#include <math.h>
#include <string.h>

#include "plug/check_probe.h"

/* A value as the column might hold it. The policy's own log-probability at the token is `l`. */
static double value_of(const dw_check *c, uint64_t key, uint32_t k, uint64_t i, double l)
{
    const uint64_t own = key + 10 + k;
    switch (k) {
    case DOWEL_REF_LOGP:
    case DOWEL_TEACHER_LOGP:
        return fmin(l + dw_check_uniform(c, own, i, -1, 1), -1e-3);
    case DOWEL_OLD_LOGP:
        return fmin(l + dw_check_uniform(c, own, i, -0.7, 0.7), -1e-3);
    case DOWEL_SAMPLER_LOGP:
        return dw_check_below(c, own, i, 9) == 0
                   ? NAN
                   : fmin(l + dw_check_uniform(c, own + 100, i, -0.8, 0.8), -1e-3);
    case DOWEL_ENTROPY:
    case DOWEL_DIVERGENCE:
        return dw_check_uniform(c, own, i, 0.01, 3);
    case DOWEL_MEAN_LOGP:
        return dw_check_uniform(c, own, i, -9, -5);
    case DOWEL_CHOICES:
        return dw_check_uniform(c, own, i, -5, -0.1);
    case DOWEL_TOP1:
        return (double)dw_check_below(c, own, i, 2);
    case DOWEL_COLLISION:
    case DOWEL_TOP_PROB:
        return dw_check_uniform(c, own, i, 0.05, 0.95);
    default:
        return dw_check_uniform(c, own, i, -2, 2);
    }
}

static uint32_t width_of(const dw_probe_plan *l, uint32_t k)
{
    uint32_t n = 0;
    switch (k) {
    case DOWEL_VALUE:
    case DOWEL_OLD_VALUE:
    case DOWEL_RETURN:
        return l->ask.value_width ? l->ask.value_width : 1;
    case DOWEL_SCORE:
        return l->ask.score_width ? l->ask.score_width : 1;
    case DOWEL_CHOICES:
        while (l->ask.choices && l->ask.choices[n])
            n++;
        return n;
    case DOWEL_FIELD:
        while (l->ask.fields && l->ask.fields[n])
            n++;
        return n;
    case DOWEL_REWARD:
    case DOWEL_TOKEN_REWARD:
        return 1 + l->n_part;
    default:
        return 1;
    }
}

static void put_asked(dw_check *c, dw_probe *p, const dw_probe_plan *l)
{
    const uint64_t key = l->spec->key;
    double *logp = dw_arena_alloc(&c->arena, (p->b.n_tok + (size_t)1) * sizeof *logp);
    for (uint32_t t = 0; t < p->b.n_tok; t++)
        logp[t] = dw_check_uniform(c, key + 6, t, -4, -0.05);
    for (uint32_t k = 0; k < DW_PROBE_ASKED; k++) {
        if (!(l->ask.columns & DOWEL_BIT(k)))
            continue;
        double *x = dw_probe_column(c, p, k, width_of(l, k), l->spec->fenced);
        const dowel_column *col = &p->col[k];
        for (uint32_t r = 0; r < col->rows; r++)
            for (uint32_t w = 0; w < col->width; w++)
                x[(size_t)r * col->width + w] = value_of(c, key, k, (uint64_t)r * col->width + w,
                                                         dw_probe_by_mark(k) ? 0 : logp[r]);
        if ((k == DOWEL_LOGP || k == DOWEL_HELD_LOGP) && p->b.n_tok)
            memcpy(x, logp, p->b.n_tok * sizeof *x);
    }
}

/* One advantage for an answer, or for every third one of its own for each token. */
static void put_advantage(dw_check *c, dw_probe *p, const dw_probe_plan *l)
{
    double *x = (double *)p->col[DOWEL_ADVANTAGE].x;
    for (uint32_t s = 0; x && s < p->b.n_seq; s++)
        for (uint32_t t = p->start[s]; t < p->start[s + 1]; t++)
            x[t] = dw_check_uniform(c, l->spec->key + 7, s % 3 ? s : 1000 + t, -2, 2);
}

static void put_rewards(dw_check *c, dw_probe *p, const dw_probe_plan *l)
{
    const uint64_t key = l->spec->key;
    const bool fenced = l->spec->fenced;
    double *x = dw_probe_column(c, p, DOWEL_REWARD, width_of(l, DOWEL_REWARD), fenced);
    for (uint32_t s = 0; s < p->b.n_seq; s++) {
        double *r = x + (size_t)s * (1 + l->n_part);
        for (uint32_t k = 0; k < l->n_part; k++) { /* k + 1: each its own scale and sign */
            r[1 + k] = dw_check_uniform(c, key + 8 + k, s, -1, 1 + k);
            r[0] += l->part_weight[k] * r[1 + k];
        }
        /* One reward had no opinion, so there is no total; only an estimator gets to see that. */
        if (l->spec->odd && c->info->plugin.estimator && s % 9 == 7)
            r[0] = r[l->n_part] = NAN;
    }
    double *y = dw_probe_column(c, p, DOWEL_TOKEN_REWARD, width_of(l, DOWEL_TOKEN_REWARD), fenced);
    for (uint32_t t = 0; t < p->b.n_tok; t++) {
        double *r = y + (size_t)t * (1 + l->n_part);
        bool ends = p->mark[t] || dw_check_below(c, key + 9, t, 3) == 0;
        for (uint32_t k = 0; k <= l->n_part; k++)
            r[k] = ends ? 0 : NAN;
        for (uint32_t k = 1; ends && k <= l->n_part; k++) {
            r[k] = dw_check_uniform(c, key + 60 + k, t, -1, 1);
            r[0] += l->part_weight[k - 1] * r[k];
        }
    }
    p->b.part = l->part;
    p->b.part_weight = l->part_weight;
}

/* Columns that rows bring, by shape. LABEL is always there, as it is in a run. */
static void put_given(dw_check *c, dw_probe *p, const dw_probe_plan *l)
{
    const uint64_t key = l->spec->key;
    const uint32_t shape = l->spec->shape;
    const bool fenced = l->spec->fenced, bare = l->spec->bare;
    double *weight = dw_probe_column(c, p, DOWEL_WEIGHT, 1, fenced);
    double *label = dw_probe_column(c, p, DOWEL_LABEL, 1, fenced);
    double *target = bare ? NULL : dw_probe_column(c, p, DOWEL_TARGET, 1, fenced);
    double *margin = bare ? NULL : dw_probe_column(c, p, DOWEL_MARGIN, 1, fenced);
    double *rank = shape == DOWEL_LISTS ? dw_probe_column(c, p, DOWEL_RANK, 1, fenced) : NULL;
    for (uint32_t s = 0; s < p->b.n_seq; s++) {
        weight[s] = s % 7 == 5 ? 0 : dw_check_uniform(c, key + 70, p->unit[s], 0.3, 2);
        if (p->mate[s] >= 0)
            label[s] = p->mate[s] > (int32_t)s ? 1 : -1;
        else if (shape == DOWEL_LABELS)
            label[s] = p->unit[s] % 2 ? 1 : -1;
        if (target)
            target[s] = s % 5 == 3 ? NAN : dw_check_uniform(c, key + 71, p->unit[s], 0.5, 1);
        if (margin)
            margin[s] = dw_check_uniform(c, key + 72, p->unit[s], 0, 1);
        if (rank)
            rank[s] = 1 + (double)dw_check_below(c, key + 73, s, 4);
    }
    if (l->ask.fields && !bare) {
        double *x = dw_probe_column(c, p, DOWEL_FIELD, width_of(l, DOWEL_FIELD), fenced);
        for (size_t k = 0; k < (size_t)p->col[DOWEL_FIELD].rows * p->col[DOWEL_FIELD].width; k++)
            x[k] = k % 8 == 6 ? NAN : (double)dw_check_below(c, key + 74, k, 2);
    }
    if (shape == DOWEL_STEPS) {
        double *x = dw_probe_column(c, p, DOWEL_MARK_LABEL, 1, fenced);
        for (uint32_t k = 0; k < p->col[DOWEL_MARK_LABEL].rows; k++)
            x[k] = k % 6 == 4 ? NAN : k % 4 == 2 ? 0.7 : (double)(k % 2);
    }
    if (shape == DOWEL_ROLLOUTS && !bare)
        put_rewards(c, p, l);
}

void dw_probe_name_parts(dw_check *c, const dw_setting *set, dw_probe_plan *l)
{
    const dowel_plugin *p = &c->info->plugin;
    l->part = dw_arena_alloc(&c->arena, (p->n_params + 2) * sizeof *l->part);
    l->part_weight = dw_arena_alloc(&c->arena, (p->n_params + 2) * sizeof *l->part_weight);
    for (uint32_t k = 0; k < p->n_params; k++) {
        const dw_json *v = dw_json_get(set->full, p->params[k].name);
        if (p->params[k].type == DOWEL_STR && v && dw_json_str(v).len > 0)
            l->part[l->n_part++] = dw_arena_strdup(&c->arena, dw_json_str(v).ptr);
    }
    l->part[l->n_part++] = "quality";
    l->part[l->n_part++] = "style";
    for (uint32_t k = 0; k < l->n_part; k++)
        l->part_weight[k] = 0.5 + 0.25 * k;
}

void dw_probe_fill(dw_check *c, dw_probe *p, const dw_probe_plan *l)
{
    put_given(c, p, l);
    put_asked(c, p, l);
    put_advantage(c, p, l);
}
