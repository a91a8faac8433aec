/* What `dowel check` asks of an objective's loss and an estimator's credit, whatever the numbers:
 * derivatives are those of the loss, a step may be cut, dealt and reordered, calls leave no trace.
 */
#include <math.h>
#include <string.h>

#include "plug/check.h"

enum { ROUNDS = 2, UNITS = 7 }; /* a number that cannot be cut into equal parts */

/* Runs `one` for every setting and every kind of data that the objective feeds on. */
typedef bool (*probe_fn)(dw_check *c, const dw_setting *set, dw_probe *p);

static bool each_shape(dw_check *c, const dw_setting *set, probe_fn one, uint64_t key, bool odd,
                       size_t *done)
{
    for (uint32_t bit = 1; bit <= DOWEL_STEPS; bit <<= 1) {
        dw_probe *p;
        dw_probe_spec spec = {.shape = bit, .units = UNITS, .key = key, .odd = odd};
        if (!(c->info->objective.feeds_on & bit))
            continue;
        dw_opened o = dw_probe_make(c, set, &spec, &p);
        if (o == DW_CHECK_BROKEN)
            return false;
        if (o == DW_CHECK_REFUSED)
            continue;
        dw_check_now(c, "options %s, %s, key %llu", set->text, dw_probe_shape_name(bit),
                     (unsigned long long)key);
        c->found = NULL;
        c->refused = false;
        if (!one(c, set, p)) {
            char *what = c->found;
            return dw_check_fail(c, "options %s, %s%s: %s", set->text, dw_probe_shape_name(bit),
                                 odd ? " with holes" : "", what);
        }
        *done += !c->refused;
    }
    return true;
}

static bool each(dw_check *c, unsigned which, size_t random, probe_fn one)
{
    dw_setting *s;
    size_t n, done = 0;
    if (!c->info->plugin.objective)
        return dw_check_skip(c, "it is no objective");
    if (!dw_check_settings(c, which, random, &s, &n))
        return false;
    for (size_t k = 0; k < n; k++) {
        for (uint64_t round = 0; round < ROUNDS; round++)
            if (!each_shape(c, &s[k], one, 20000 * (round + 1), round % 2 == 1, &done))
                return false;
        if (done == 0) /* the defaults are the first */
            return dw_check_fail(c, "options %s: every step was refused, for example: %s",
                                 s[k].text, c->found ? c->found : "by the estimator");
    }
    c->found = NULL;
    if (!c->note)
        dw_check_note(c, "%zu settings, %zu steps", n, done);
    return true;
}

/* What a call that did not succeed means for the test: a refusal in words is none of its business.
 */
static bool gave_way(dw_check *c, int done)
{
    c->refused = done == 0;
    return done == 0;
}

/* ---- gradcheck ---- */

typedef struct differences {
    dw_check *c;
    dw_instance *i;
    dw_probe *p; /* what loss() sees, in one batch */
    double total[256];
    double largest; /* derivative of the batch */
    size_t checked, kinks;
} differences;

static int value(differences *d, double *out)
{
    dw_err err = {{0}};
    *out = 0;
    for (uint32_t k = 0; k < 16; k++)
        if (d->p->col[k].grad)
            memset(d->p->col[k].grad, 0,
                   (size_t)d->p->col[k].rows * d->p->col[k].width * sizeof(double));
    if (dw_call_loss(d->i, &d->p->b, out, &err) == DW_OK)
        return 1;
    dw_check_fail(d->c, "%s", err.text);
    return d->i->answered == DOWEL_E_ARG ? 0 : -1;
}

/* Central difference; NAN where the loss refuses. */
static double slope(differences *d, double *x, double h)
{
    double at = *x, up, down;
    *x = at + h;
    int a = value(d, &up);
    *x = at - h;
    int b = value(d, &down);
    *x = at;
    return a == 1 && b == 1 ? (up - down) / (2 * h) : NAN;
}

/* The derivative by differences of two sizes, Richardson's way. False: they disagree, as they do
 * where the loss has a kink within reach. */
static bool by_differences(differences *d, double *x, double loss, double *out, double *noise)
{
    static const double size[] = {1e-4, 1e-5, 1e-6};
    for (size_t k = 0; k < sizeof size / sizeof *size; k++) {
        double h = size[k], wide = slope(d, x, h), narrow = slope(d, x, h / 2);
        *noise = 2e-15 * fmax(1, fabs(loss)) / h;
        *out = (4 * narrow - wide) / 3;
        if (fabs(wide - narrow) <= 1e-7 * fmax(fabs(narrow), d->largest) + *noise)
            return true;
    }
    return false;
}

static bool check_column(differences *d, uint32_t k, const double *grad, double loss)
{
    static const char *const name[] = {"LOGP",      "ENTROPY",    "VALUE",  "SCORE",
                                       "MEAN_LOGP", "DIVERGENCE", "CHOICES"};
    const dowel_column *col = &d->p->col[k];
    double *x = (double *)col->x, want, noise;
    for (size_t j = 0; j < (size_t)col->rows * col->width; j++) {
        if (!by_differences(d, &x[j], loss, &want, &noise)) {
            d->kinks++;
            continue;
        }
        d->checked++;
        double tol = 1e-6 * fmax(fabs(grad[j]), d->largest) + 4 * noise;
        if (!(fabs(want - grad[j]) <= tol))
            return dw_check_fail(
                d->c,
                "the derivative of %s at row %zu is %.10g, differences of the loss give %.10g%s",
                k < 7 ? name[k] : "?", j / col->width, grad[j], want,
                d->p->ask.columns & DOWEL_BIT(DOWEL_HELD_LOGP)
                    ? " (with HELD_LOGP held still)"
                    : "; a factor that is meant to be a constant has to be computed from "
                      "HELD_LOGP");
    }
    return true;
}

static bool survey_whole(dw_check *c, dw_instance *i, const dw_probe *p, double *total)
{
    dw_err err = {{0}};
    uint32_t *seq = dw_arena_alloc(&c->arena, (p->b.n_seq + (size_t)1) * sizeof *seq);
    uint32_t n = dw_probe_units(p, NULL, 0, p->n_unit, seq);
    dw_probe *all = dw_probe_part(c, p, seq, n, DW_VIEW_SURVEY, false);
    all->b.host = dw_instance_host(i);
    if (dw_call_survey(i, &all->b, total, &err) == DW_OK)
        return true;
    return dw_check_fail(c, "%s", err.text);
}

static size_t all_checked, all_kinks;

static bool gradcheck_one(dw_check *c, const dw_setting *set, dw_probe *p)
{
    differences d = {.c = c};
    uint32_t *seq = dw_arena_alloc(&c->arena, (p->b.n_seq + (size_t)1) * sizeof *seq);
    double loss, *grad[16] = {0};
    if (dw_check_open(c, set, NULL, &d.i) != DW_CHECK_OPEN)
        return false;
    if (!survey_whole(c, d.i, p, d.total))
        return gave_way(c, d.i->answered == DOWEL_E_ARG ? 0 : -1);
    uint32_t n = dw_probe_units(p, NULL, 0, p->n_unit, seq);
    d.p = dw_probe_part(c, p, seq, n, DW_VIEW_LOSS, false);
    d.p->b.host = dw_instance_host(d.i);
    d.p->b.total = d.total;
    int done = value(&d, &loss);
    if (done != 1)
        return gave_way(c, done);
    for (uint32_t k = 0; k < 16; k++) {
        const dowel_column *col = &d.p->col[k];
        size_t all = (size_t)col->rows * col->width;
        if (!col->grad)
            continue;
        grad[k] = dw_arena_alloc(&c->arena, (all + 1) * sizeof(double));
        memcpy(grad[k], col->grad, all * sizeof(double));
        for (size_t j = 0; j < all; j++)
            d.largest = fmax(d.largest, fabs(grad[k][j]));
    }
    bool good = true;
    for (uint32_t k = 0; good && k < 16; k++)
        if (grad[k])
            good = check_column(&d, k, grad[k], loss);
    if (good && set->defaults && d.kinks > d.checked)
        good = dw_check_fail(c,
                             "%zu of %zu derivatives could not be checked: the loss is not "
                             "smooth around them",
                             d.kinks, d.kinks + d.checked);
    all_checked += d.checked;
    all_kinks += d.kinks;
    dw_instance_destroy(d.i);
    return good;
}

bool dw_test_gradcheck(dw_check *c)
{
    all_checked = all_kinks = 0;
    bool good = each(c, DW_CHECK_CHOICES, 24, gradcheck_one);
    if (good && !c->skipped && all_checked == 0)
        return dw_check_fail(c, "no derivative was checked");
    if (good && !c->skipped)
        dw_check_note(c, "%zu derivatives; %zu beside a kink were left out", all_checked,
                      all_kinks);
    return good;
}

/* ---- split, permute ---- */

static dw_result *whole_step(dw_check *c, const dw_setting *set, const dw_probe *p, int *done)
{
    dw_instance *i = NULL;
    dw_result *r = dw_arena_alloc(&c->arena, sizeof *r);
    dw_step_spec how = {.cut = 1, .end = true};
    *done = dw_check_open(c, set, &r->metrics, &i) == DW_CHECK_OPEN
                ? dw_check_step(c, &i, 1, p, &how, r)
                : -1;
    dw_instance_destroy(i);
    return r;
}

/* The step again in `cut` parts over n_inst instances; NULL: as before. */
static const char *again(dw_check *c, const dw_setting *set, const dw_probe *p,
                         const dw_result *want, const dw_step_spec *how, uint32_t n_inst)
{
    dw_instance *i[2] = {NULL, NULL};
    dw_result r = {0};
    dw_buf state[2] = {{0}, {0}};
    dw_err err = {{0}};
    const char *bad = NULL;
    for (uint32_t k = 0; k < n_inst; k++)
        if (dw_check_open(c, set, &r.metrics, &i[k]) != DW_CHECK_OPEN)
            return c->found;
    if (dw_check_step(c, i, n_inst, p, how, &r) != 1)
        return c->found;
    bad = dw_check_differ(c, want, &r, 1e-12);
    for (uint32_t k = 0; !bad && k < n_inst; k++)
        if (dw_instance_save(i[k], &state[k], &err) < 0)
            bad = dw_arena_strdup(&c->arena, err.text);
    if (!bad && n_inst == 2 &&
        (state[0].len != state[1].len ||
         (state[0].len && memcmp(state[0].ptr, state[1].ptr, state[0].len) != 0)))
        bad = "the two instances have different states after the same step";
    for (uint32_t k = 0; k < n_inst; k++)
        dw_instance_destroy(i[k]);
    return bad;
}

static bool split_one(dw_check *c, const dw_setting *set, dw_probe *p)
{
    int done;
    if (p->ask.together == DOWEL_BY_STEP)
        return true;
    const dw_result *want = whole_step(c, set, p, &done);
    const uint32_t cut[] = {1, 2, 3, p->n_unit > 1 ? p->n_unit : 1};
    if (done != 1)
        return gave_way(c, done);
    for (uint32_t n_inst = 1; n_inst <= 2; n_inst++) {
        for (size_t k = 0; k < sizeof cut / sizeof *cut; k++) {
            dw_step_spec how = {.cut = cut[k], .end = true};
            const char *bad = again(c, set, p, want, &how, n_inst);
            if (bad)
                return dw_check_fail(c, "in %u batches over %u instance%s: %s", cut[k], n_inst,
                                     n_inst > 1 ? "s" : "", bad);
        }
    }
    return true;
}

bool dw_test_split(dw_check *c)
{
    return each(c, DW_CHECK_CHOICES, 12, split_one);
}

/* A permutation of n things that is none of the usual ones. */
static uint32_t *shuffled(dw_check *c, uint32_t n, uint64_t key)
{
    uint32_t *order = dw_arena_alloc(&c->arena, (n + (size_t)1) * sizeof *order);
    for (uint32_t k = 0; k < n; k++)
        order[k] = k;
    for (uint32_t k = n; k > 1; k--) {
        uint32_t o = (uint32_t)dw_check_below(c, key, k, k), x = order[k - 1];
        order[k - 1] = order[o];
        order[o] = x;
    }
    return order;
}

static bool permute_one(dw_check *c, const dw_setting *set, dw_probe *p)
{
    int done;
    const dw_result *want = whole_step(c, set, p, &done);
    if (done != 1)
        return gave_way(c, done);
    for (uint64_t k = 0; k < 3; k++) {
        dw_step_spec how = {.order = shuffled(c, p->n_unit, 300 + k), .cut = 1, .end = true};
        const char *bad = again(c, set, p, want, &how, 1);
        if (bad)
            return dw_check_fail(c, "in another order: %s", bad);
    }
    return true;
}

static int credit_of(dw_check *c, const dw_setting *set, const dw_probe *p, const uint32_t *order,
                     dw_result *r)
{
    dw_instance *i = NULL;
    if (dw_check_open(c, set, &r->metrics, &i) != DW_CHECK_OPEN)
        return -1;
    int done = dw_check_estimate(c, i, p, order, r);
    dw_instance_destroy(i);
    return done;
}

static bool permute_rollout(dw_check *c, const dw_setting *set, uint64_t key, bool odd)
{
    dw_probe *p;
    dw_result want = {0};
    dw_probe_spec spec = {.units = UNITS, .key = key, .odd = odd};
    dw_opened o = dw_probe_rollout(c, set, &spec, &p);
    if (o != DW_CHECK_OPEN)
        return o == DW_CHECK_REFUSED;
    int done = credit_of(c, set, p, NULL, &want);
    if (done != 1)
        return gave_way(c, done);
    for (uint64_t k = 0; k < 3; k++) {
        dw_result r = {0};
        dw_check_now(c, "options %s, a rollout in another order", set->text);
        if (credit_of(c, set, p, shuffled(c, p->n_unit, 300 + k), &r) != 1)
            return false;
        const char *bad = dw_check_differ(c, &want, &r, 1e-11);
        if (bad)
            return dw_check_fail(c, "options %s, a rollout in another order of groups: %s",
                                 set->text, bad);
    }
    return true;
}

bool dw_test_permute(dw_check *c)
{
    dw_setting *s;
    size_t n;
    const dowel_plugin *p = &c->info->plugin;
    if (!p->objective && !p->estimator)
        return dw_check_skip(c, "it is neither objective nor estimator");
    if (p->objective && !each(c, DW_CHECK_CHOICES, 12, permute_one))
        return false;
    if (!p->estimator)
        return true;
    if (!dw_check_settings(c, DW_CHECK_CHOICES, 12, &s, &n))
        return false;
    for (size_t k = 0; k < n; k++)
        if (!permute_rollout(c, &s[k], 40000, false) || !permute_rollout(c, &s[k], 41000, true))
            return false;
    c->found = NULL;
    return true;
}

/* ---- loss-stateless ---- */

static bool stateless_one(dw_check *c, const dw_setting *set, dw_probe *p)
{
    dw_instance *i = NULL;
    dw_result r[2];
    dw_buf before = {0}, after = {0};
    dw_err err = {{0}};
    dw_step_spec how = {.cut = 1};
    memset(r, 0, sizeof r);
    if (dw_check_open(c, set, NULL, &i) != DW_CHECK_OPEN)
        return false;
    if (dw_instance_save(i, &before, &err) < 0)
        return dw_check_fail(c, "%s", err.text);
    for (int k = 0; k < 2; k++) {
        int done = dw_check_step(c, &i, 1, p, &how, &r[k]);
        if (done != 1)
            return gave_way(c, done);
    }
    const char *bad = dw_check_differ(c, &r[0], &r[1], 0);
    if (bad)
        return dw_check_fail(c, "survey and loss called twice: %s", bad);
    if (dw_instance_save(i, &after, &err) < 0)
        return dw_check_fail(c, "%s", err.text);
    if (before.len != after.len || (before.len && memcmp(before.ptr, after.ptr, before.len) != 0))
        return dw_check_fail(c, "survey or loss changed the state: save() writes other bytes "
                                "after them; state changes in step_end()");
    dw_buf_finish(&before);
    dw_buf_finish(&after);
    dw_instance_destroy(i);
    return true;
}

bool dw_test_stateless(dw_check *c)
{
    return each(c, DW_CHECK_CHOICES, 8, stateless_one);
}

/* ---- null-columns, odd ---- */

static bool fenced_one(dw_check *c, const dw_setting *set, dw_probe *p)
{
    dw_instance *i = NULL;
    dw_result r = {0};
    dw_step_spec how = {.cut = 1, .fenced = true};
    if (dw_check_open(c, set, NULL, &i) != DW_CHECK_OPEN)
        return false;
    int done = dw_check_step(c, &i, 1, p, &how, &r);
    dw_instance_destroy(i);
    return done == 1 || gave_way(c, done);
}

/* Without the columns that data need not have: words or a result, but no crash. */
static bool bare_steps(dw_check *c, const dw_setting *set)
{
    for (uint32_t bit = 1; bit <= DOWEL_STEPS; bit <<= 1) {
        dw_probe *p;
        dw_instance *i = NULL;
        dw_result r = {0};
        dw_probe_spec spec = {.shape = bit, .units = UNITS, .key = 60000, .bare = true};
        dw_step_spec how = {.cut = 1, .fenced = true};
        if (!(c->info->objective.feeds_on & bit) ||
            dw_probe_make(c, set, &spec, &p) != DW_CHECK_OPEN ||
            dw_check_open(c, set, NULL, &i) != DW_CHECK_OPEN)
            continue;
        dw_check_now(c, "options %s, %s without optional columns", set->text,
                     dw_probe_shape_name(bit));
        if (dw_check_step(c, &i, 1, p, &how, &r) < 0)
            return false;
        dw_instance_destroy(i);
    }
    return true;
}

bool dw_test_null_columns(dw_check *c)
{
    dw_setting *s;
    size_t n;
    const dowel_plugin *p = &c->info->plugin;
    if (!p->objective && !p->estimator)
        return dw_check_skip(c, "it reads no columns");
    if (p->objective && !each(c, DW_CHECK_CHOICES, 8, fenced_one))
        return false;
    if (!dw_check_settings(c, DW_CHECK_CHOICES, 8, &s, &n))
        return false;
    for (size_t k = 0; p->objective && k < n; k++)
        if (!bare_steps(c, &s[k]))
            return false;
    for (size_t k = 0; p->estimator && k < n; k++) {
        dw_probe *q;
        dw_result r = {0}; /* dw_check_estimate fences every array */
        dw_probe_spec spec = {.units = UNITS, .key = 61000, .odd = true};
        dw_probe_spec bare = {.units = UNITS, .key = 61000, .bare = true};
        dw_check_now(c, "options %s, a rollout", s[k].text);
        if (dw_probe_rollout(c, &s[k], &spec, &q) == DW_CHECK_OPEN &&
            credit_of(c, &s[k], q, NULL, &r) < 0)
            return false;
        if (dw_probe_rollout(c, &s[k], &bare, &q) == DW_CHECK_OPEN &&
            credit_of(c, &s[k], q, NULL, &r) < 0)
            return false;
    }
    c->found = NULL;
    return true;
}

/* Nothing, one thing, many things, and things of which nothing counts. */
static bool odd_sizes(dw_check *c, const dw_setting *set, uint32_t shape, uint32_t units,
                      bool masked)
{
    dw_probe *p;
    dw_instance *i = NULL;
    dw_result r = {0};
    dw_probe_spec spec = {.shape = shape, .units = units, .key = 70000};
    dw_step_spec how = {.cut = 1, .end = true};
    dw_opened o = dw_probe_make(c, set, &spec, &p);
    if (o != DW_CHECK_OPEN)
        return o == DW_CHECK_REFUSED;
    if (masked) {
        memset(p->mask, 0, p->b.n_tok);
        p->b.step_seqs = p->b.step_toks = 1;
    }
    if (dw_check_open(c, set, NULL, &i) != DW_CHECK_OPEN)
        return false;
    dw_check_now(c, "options %s: %u units of %s%s", set->text, units, dw_probe_shape_name(shape),
                 masked ? ", nothing counts" : "");
    int done = dw_check_step(c, &i, 1, p, &how, &r);
    dw_instance_destroy(i);
    if (done < 0)
        return dw_check_fail(c, "options %s, %u units of %s%s: %s", set->text, units,
                             dw_probe_shape_name(shape), masked ? ", nothing counts" : "",
                             c->found);
    return true;
}

static bool odd_rollouts(dw_check *c, const dw_setting *set)
{
    for (uint32_t units = 0; units < 3; units++) {
        dw_probe *p;
        dw_result r = {0};
        dw_probe_spec spec = {.units = units, .key = 71000};
        if (dw_probe_rollout(c, set, &spec, &p) != DW_CHECK_OPEN)
            continue;
        if (units == 2)
            memset(p->mask, 0, p->b.n_tok);
        dw_check_now(c, "options %s: a rollout of %u groups", set->text, units);
        if (credit_of(c, set, p, NULL, &r) < 0)
            return dw_check_fail(c, "options %s, a rollout of %u groups%s: %s", set->text, units,
                                 units == 2 ? ", nothing counts" : "", c->found);
    }
    return true;
}

bool dw_test_odd(dw_check *c)
{
    dw_setting *s;
    size_t n;
    const dowel_plugin *p = &c->info->plugin;
    if (!p->objective && !p->estimator)
        return dw_check_skip(c, "see batch-size");
    if (!dw_check_settings(c, DW_CHECK_CHOICES, 0, &s, &n))
        return false;
    for (size_t k = 0; k < n; k++) {
        for (uint32_t bit = 1; p->objective && bit <= DOWEL_STEPS; bit <<= 1)
            if ((c->info->objective.feeds_on & bit) &&
                !(odd_sizes(c, &s[k], bit, 0, false) && odd_sizes(c, &s[k], bit, 1, false) &&
                  odd_sizes(c, &s[k], bit, 3, true) && odd_sizes(c, &s[k], bit, 90, false)))
                return false;
        if (p->estimator && !odd_rollouts(c, &s[k]))
            return false;
    }
    c->found = NULL;
    return true;
}
