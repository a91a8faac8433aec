/* What a plugin made of a step, a rollout or a list of samples, kept so that two runs can be
 * compared number by number and metric by metric. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/size.h"
#include "plug/check.h"

/* ---- metrics ---- */

void dw_check_collect(void *ctx, const char *instance, const char *name, uint32_t fold,
                      double value, double weight)
{
    dw_check_metrics *all = ctx;
    size_t i = 0;
    (void)instance;
    while (i < all->n && strcmp(all->m[i].name, name) != 0)
        i++;
    if (i == all->n) {
        DW_GROW(all->m, all->n, all->cap);
        all->m[all->n] = (dw_check_metric){.fold = fold, .least = INFINITY, .most = -INFINITY};
        strncpy(all->m[all->n].name, name, sizeof all->m[0].name - 1);
        all->n++;
    }
    dw_check_metric *m = &all->m[i];
    m->sum += value * (fold == DOWEL_MEAN ? weight : 1);
    m->weight += weight;
    m->least = fmin(m->least, value);
    m->most = fmax(m->most, value);
}

double dw_check_metric_value(const dw_check_metric *m)
{
    return m->fold == DOWEL_MEAN  ? m->sum / m->weight
           : m->fold == DOWEL_SUM ? m->sum
           : m->fold == DOWEL_MIN ? m->least
                                  : m->most;
}

/* ---- lists of named numbers ---- */

static void put(dw_check *c, dw_result *r, double x, const char *name)
{
    if (r->n == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 256;
        double *more = dw_arena_alloc(&c->arena, cap * sizeof *more);
        const char **names = dw_arena_alloc(&c->arena, cap * sizeof *names);
        if (r->n) {
            memcpy(more, r->x, r->n * sizeof *more);
            memcpy(names, r->name, r->n * sizeof *names);
        }
        r->x = more;
        r->name = names;
        r->cap = cap;
    }
    r->x[r->n] = x;
    r->name[r->n++] = name;
}

static bool equal(double a, double b, double scale, double tol)
{
    if (dw_bits(a) == dw_bits(b) || (isnan(a) && isnan(b)))
        return true;
    if (tol == 0)
        return false;
    return fabs(a - b) <= tol * fmax(scale, fmax(fabs(a), fabs(b)));
}

static const char *metrics_differ(dw_check *c, const dw_check_metrics *a, const dw_check_metrics *b,
                                  double tol)
{
    for (size_t i = 0; i < a->n; i++) {
        const dw_check_metric *m = &a->m[i], *o = NULL;
        for (size_t k = 0; k < b->n; k++)
            if (strcmp(m->name, b->m[k].name) == 0)
                o = &b->m[k];
        if (!o)
            return dw_arena_printf(&c->arena, "metric %s is reported once, then not at all",
                                   m->name);
        double x = dw_check_metric_value(m), y = dw_check_metric_value(o);
        if (!equal(x, y, 1e-3, tol))
            return dw_arena_printf(&c->arena, "metric %s is %.17g, then %.17g", m->name, x, y);
    }
    return a->n < b->n ? metrics_differ(c, b, a, tol) : NULL;
}

const char *dw_check_differ(dw_check *c, const dw_result *a, const dw_result *b, double tol)
{
    double scale = 1e-6; /* derivatives that cancel to nothing have no digits to compare */
    if (!equal(a->loss, b->loss, 1e-3, tol))
        return dw_arena_printf(&c->arena, "the loss is %.17g, then %.17g", a->loss, b->loss);
    if (a->n != b->n)
        return dw_arena_printf(&c->arena, "%zu numbers, then %zu", a->n, b->n);
    for (size_t k = 0; k < a->n; k++)
        scale = isfinite(a->x[k]) ? fmax(scale, fabs(a->x[k])) : scale;
    for (size_t k = 0; k < a->n; k++)
        if (!equal(a->x[k], b->x[k], fmin(scale, 1), tol))
            return dw_arena_printf(&c->arena, "%s (number %zu) is %.17g, then %.17g", a->name[k], k,
                                   a->x[k], b->x[k]);
    return metrics_differ(c, &a->metrics, &b->metrics, tol);
}

/* ---- a step ---- */

typedef struct step {
    dw_check *c;
    const dw_probe *whole;
    uint32_t cut;
    uint32_t **seq, *n_seq; /* of each part */
    double total[256], tally[256];
} step;

static void deal(step *s, const dw_step_spec *spec)
{
    const dw_probe *p = s->whole;
    s->cut = spec->cut ? spec->cut : 1;
    s->seq = dw_arena_alloc(&s->c->arena, s->cut * sizeof *s->seq);
    s->n_seq = dw_arena_alloc(&s->c->arena, s->cut * sizeof *s->n_seq);
    for (uint32_t k = 0; k < s->cut; k++) {
        uint32_t from = (uint32_t)((uint64_t)k * p->n_unit / s->cut);
        uint32_t to = (uint32_t)((uint64_t)(k + 1) * p->n_unit / s->cut);
        s->seq[k] = dw_arena_alloc(&s->c->arena, (p->b.n_seq + (size_t)1) * sizeof **s->seq);
        s->n_seq[k] = dw_probe_units(p, spec->order, from, to - from, s->seq[k]);
    }
}

/* A refusal in words is the plugin's right; anything else that the host objects to is not. */
static int refused(dw_check *c, const dw_instance *i, const dw_err *err)
{
    dw_check_fail(c, "%s", err->text);
    return i->answered == DOWEL_E_ARG ? 0 : -1;
}

static void gather(dw_check *c, const dw_probe *whole, const dw_probe *part, double *const *grad)
{
    (void)c;
    for (uint32_t k = 0; k < 16; k++) {
        const dowel_column *col = &part->col[k];
        for (uint32_t q = 0; col->grad && q < part->b.n_seq; q++) {
            size_t from = (size_t)dw_probe_row(part, k, q) * col->width;
            size_t n = (size_t)dw_probe_row(part, k, q + 1) * col->width - from;
            size_t to = (size_t)dw_probe_row(whole, k, part->from[q]) * col->width;
            for (size_t j = 0; j < n; j++)
                grad[k][to + j] += col->grad[from + j];
        }
    }
}

static int survey(step *s, dw_instance *const *inst, uint32_t n_inst, const dw_step_spec *spec)
{
    dw_err err = {{0}};
    const uint32_t n = s->c->info->objective.n_total;
    if (spec->total) {
        memcpy(s->total, spec->total, n * sizeof *s->total);
        return 1;
    }
    for (uint32_t k = 0; k < s->cut; k++) {
        dw_instance *i = inst[k % n_inst];
        dw_probe *part =
            dw_probe_part(s->c, s->whole, s->seq[k], s->n_seq[k], DW_VIEW_SURVEY, spec->fenced);
        part->b.host = dw_instance_host(i);
        dw_status st = dw_call_survey(i, &part->b, s->total, &err);
        if (st < 0)
            return refused(s->c, i, &err);
    }
    return 1;
}

static int losses(step *s, dw_instance *const *inst, uint32_t n_inst, const dw_step_spec *spec,
                  dw_result *out, double *const *grad)
{
    dw_err err = {{0}};
    for (uint32_t k = 0; k < s->cut; k++) {
        dw_instance *i = inst[k % n_inst];
        dw_probe *part =
            dw_probe_part(s->c, s->whole, s->seq[k], s->n_seq[k], DW_VIEW_LOSS, spec->fenced);
        part->b.host = dw_instance_host(i);
        part->b.total = s->total;
        part->b.tally = s->tally;
        dw_status st = dw_call_loss(i, &part->b, &out->loss, &err);
        if (st < 0)
            return refused(s->c, i, &err);
        gather(s->c, s->whole, part, grad);
    }
    return 1;
}

static const char *const grad_name[] = {
    "the derivative of LOGP",   "the derivative of ENTROPY",   "the derivative of VALUE",
    "the derivative of SCORE",  "the derivative of MEAN_LOGP", "the derivative of DIVERGENCE",
    "the derivative of CHOICES"};

static void keep(step *s, dw_result *out, double *const *grad)
{
    const dowel_objective *o = &s->c->info->objective;
    for (uint32_t k = 0; k < sizeof grad_name / sizeof *grad_name; k++)
        for (size_t j = 0; grad[k] && j < (size_t)s->whole->col[k].rows * s->whole->col[k].width;
             j++)
            put(s->c, out, grad[k][j], grad_name[k]);
    for (uint32_t k = 0; k < o->n_total; k++)
        put(s->c, out, s->total[k], "a total");
    for (uint32_t k = 0; k < o->n_tally; k++)
        put(s->c, out, s->tally[k], "a tally");
}

int dw_check_step(dw_check *c, dw_instance *const *inst, uint32_t n_inst, const dw_probe *p,
                  const dw_step_spec *spec, dw_result *out)
{
    const dowel_objective *o = &c->info->objective;
    dw_err err = {{0}};
    double *grad[16] = {0};
    step s = {.c = c, .whole = p};
    if (o->n_total > 256 || o->n_tally > 256)
        return dw_check_fail(c, "%u totals and %u tallies, at most 256 can be checked", o->n_total,
                             o->n_tally)
                   ? 1
                   : -1;
    for (uint32_t k = 0; k < 16; k++)
        if (p->col[k].grad)
            grad[k] = dw_arena_alloc(&c->arena, ((size_t)p->col[k].rows * p->col[k].width + 1) *
                                                    sizeof(double));
    deal(&s, spec);
    int done = survey(&s, inst, n_inst, spec);
    if (done == 1)
        done = losses(&s, inst, n_inst, spec, out, grad);
    if (done != 1)
        return done;
    keep(&s, out, grad);
    for (uint32_t k = 0; spec->end && k < n_inst; k++) {
        dw_status st = dw_call_step_end(inst[k], p->b.step, s.tally, &err);
        if (st < 0)
            return refused(c, inst[k], &err);
    }
    return 1;
}

/* ---- a rollout ---- */

int dw_check_estimate(dw_check *c, dw_instance *i, const dw_probe *p, const uint32_t *order,
                      dw_result *out)
{
    dw_err err = {{0}};
    const size_t n = p->b.n_seq, toks = p->b.n_tok;
    uint32_t *seq = dw_arena_alloc(&c->arena, (n + 1) * sizeof *seq);
    uint32_t m = dw_probe_units(p, order, 0, p->n_unit, seq);
    uint32_t *at = dw_arena_alloc(&c->arena, (n + 1) * sizeof *at);
    dw_probe *q = dw_probe_part(c, p, seq, m, DW_VIEW_ALL, true);
    const uint32_t width = p->ask.value_width ? p->ask.value_width : 1;
    bool critic = (p->ask.columns & DOWEL_BIT(DOWEL_OLD_VALUE)) != 0;
    dowel_credit k = {.size = sizeof k,
                      .ret_width = critic ? width : 0,
                      .advantage = dw_arena_alloc(&c->arena, (toks + 1) * sizeof(double)),
                      .weight = dw_arena_alloc(&c->arena, (n + 1) * sizeof(double)),
                      .label = dw_arena_alloc(&c->arena, (n + 1) * sizeof(double)),
                      .mate = dw_arena_alloc(&c->arena, (n + 1) * sizeof(int32_t)),
                      .keep = dw_arena_alloc(&c->arena, n + 1)};
    if (critic)
        k.ret = dw_arena_alloc(&c->arena, (toks + 1) * width * sizeof(double));
    for (size_t s = 0; s < n; s++) {
        k.weight[s] = 1;
        k.mate[s] = -1;
        k.keep[s] = 1;
        at[q->from[s]] = (uint32_t)s;
    }
    q->b.host = dw_instance_host(i);
    dw_status st = dw_call_estimate(i, &q->b, &k, &err);
    if (st < 0)
        return refused(c, i, &err);
    for (uint32_t s = 0; s < n; s++) {
        uint32_t w = at[s];
        for (uint32_t t = q->start[w]; t < q->start[w + 1]; t++) {
            put(c, out, k.advantage[t], "an advantage");
            for (uint32_t h = 0; critic && h < width; h++)
                put(c, out, k.ret[(size_t)t * width + h], "a return");
        }
        put(c, out, k.weight[w], "a weight");
        put(c, out, k.label[w], "a label");
        put(c, out, k.mate[w] < 0 ? -1.0 : (double)q->from[k.mate[w]], "a mate");
        put(c, out, k.keep[w], "keep");
    }
    return 1;
}

/* ---- everything in turn ---- */

static int one_shape(dw_check *c, dw_instance *i, const dw_setting *set, uint32_t shape,
                     uint64_t nth, dw_result *out)
{
    dw_probe *p;
    dw_probe_spec spec = {.shape = shape, .units = 5, .key = 5000 + 100 * nth, .odd = nth % 2};
    dw_opened o = dw_probe_make(c, set, &spec, &p);
    if (o != DW_CHECK_OPEN)
        return o == DW_CHECK_REFUSED ? 0 : -1;
    p->b.step = nth;
    dw_check_now(c, "options %s: step %llu of %s", set->text, (unsigned long long)nth,
                 dw_probe_shape_name(shape));
    dw_step_spec how = {.end = true};
    return dw_check_step(c, &i, 1, p, &how, out);
}

static int one_rollout(dw_check *c, dw_instance *i, const dw_setting *set, uint64_t nth,
                       dw_result *out)
{
    dw_probe *p;
    dw_probe_spec spec = {.units = 5, .key = 7000 + 100 * nth, .odd = nth % 2};
    dw_opened o = dw_probe_rollout(c, set, &spec, &p);
    if (o != DW_CHECK_OPEN)
        return o == DW_CHECK_REFUSED ? 0 : -1;
    dw_check_now(c, "options %s: rollout %llu", set->text, (unsigned long long)nth);
    return dw_check_estimate(c, i, p, NULL, out);
}

static int one_list(dw_check *c, dw_instance *i, const dw_setting *set, uint64_t nth,
                    dw_result *out)
{
    dw_samples s = dw_check_samples(c, set, 9000 + 100 * nth, 12);
    dw_check_now(c, "options %s: samples %llu", set->text, (unsigned long long)nth);
    return dw_check_score(c, i, s.list, s.n, out);
}

int dw_check_episode(dw_check *c, dw_instance *i, const dw_setting *set, uint64_t first,
                     uint64_t steps, dw_result *out)
{
    const dw_plugin_info *info = c->info;
    int done = 1, any = 0;
    for (uint64_t k = first; k < first + steps; k++) {
        if (done >= 0 && info->plugin.estimator)
            any |= (done = one_rollout(c, i, set, k, out)) == 1;
        for (uint32_t bit = 1; done >= 0 && info->plugin.objective && bit <= DOWEL_STEPS; bit <<= 1)
            if (info->objective.feeds_on & bit)
                any |= (done = one_shape(c, i, set, bit, k, out)) == 1;
        if (done >= 0 && info->plugin.reward)
            any |= (done = one_list(c, i, set, k, out)) == 1;
    }
    return done < 0 ? -1 : any || info->plugin.judge;
}
