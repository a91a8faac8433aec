/* The one wrapper around every call of a plugin, and the calls of objectives and estimators. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "plug/internal.h"

/* ---- begin and end ---- */

dowel_err dw_call_err(void)
{
    return (dowel_err){.size = sizeof(dowel_err), .sample = -1};
}

void dw_call_begin(dw_call *c, dw_instance *i, const char *function)
{
    *c = (dw_call){.of = i, .function = function};
    snprintf(c->crumb, sizeof c->crumb, "%.80s.%s", i->label, function);
    c->deadline = i->time_limit > 0 ? dw_now() + i->time_limit : 0;
    pthread_mutex_lock(&i->lock);
    i->in_flight++;
    pthread_mutex_unlock(&i->lock);
    dw_host_enter(c);
    c->mode = dw_fpmode_get();
    dw_breadcrumb(c->crumb);
}

/* What every end has to undo, refused or not. The fault, if any, is moved to `fault`. */
static void finish(dw_call *c, dowel_status st, char *fault, size_t size)
{
    dw_instance *i = c->of;
    dw_host_leave(c);
    dw_breadcrumb(c->outer ? c->outer->crumb : NULL);
    dw_arena_finish(&c->scratch);
    pthread_mutex_lock(&i->lock);
    snprintf(fault, size, "%s", i->fault);
    i->fault[0] = 0;
    i->answered = st;
    if (--i->in_flight == 0)
        dw_arena_reset(&i->shared);
    pthread_mutex_unlock(&i->lock);
}

static dw_status status_of(dowel_status st)
{
    switch (st) {
    case DOWEL_E_NOMEM:
    case DOWEL_E_LIMIT:
        return DW_E_LIMIT;
    case DOWEL_E_CANCELLED:
        return dw_plug_cancelled() ? DW_E_SIGINT : DW_E_LIMIT;
    default:
        return DW_E_PLUGIN;
    }
}

static const char *status_name(dowel_status st)
{
    static const char *const name[] = {
        "",
        "an argument is wrong",
        "out of memory",
        "reading or writing failed",
        "the saved state cannot be read",
        "a limit was exceeded",
        "cancelled",
        "fault",
    };
    return st < 0 && st >= DOWEL_E_FAULT ? name[-st] : "an unknown status";
}

/* The plugin's own words, as one clean line; they may be missing or not terminated. */
static void own_words(dowel_status st, const dowel_err *e, char *out, size_t size)
{
    size_t n = strnlen(e->text, sizeof e->text);
    if (n == 0)
        snprintf(out, size, "%s (status %d, without a message)", status_name(st), st);
    else
        snprintf(out, size, "%.*s", (int)n, e->text);
    for (char *s = out; *s; s++)
        if ((unsigned char)*s < ' ' || *s == 0x7f)
            *s = ' ';
}

dw_status dw_call_end(dw_call *c, dowel_status st, const dowel_err *e, dw_err *err)
{
    const char *label = c->of->label, *changed = dw_fpmode_restore(&c->mode);
    char fault[sizeof c->of->fault], text[600];
    finish(c, st, fault, sizeof fault);
    if (st < 0) {
        own_words(st, e, text, sizeof text);
        if (e->sample >= 0)
            return dw_fail(err, status_of(st), "%s: %s: sample %d: %s", label, c->function,
                           e->sample, text);
        return dw_fail(err, status_of(st), "%s: %s: %s", label, c->function, text);
    }
    if (st > 0)
        return dw_fail(err, DW_E_PLUGIN,
                       "%s: %s: returned %d, expected 0 or a negative DOWEL_E_* status", label,
                       c->function, st);
    if (changed)
        return dw_fail(err, DW_E_PLUGIN,
                       "%s: %s: changed %s, expected it untouched; build the plugin without "
                       "-ffast-math, call neither setlocale nor fesetenv",
                       label, c->function, changed);
    if (fault[0])
        return dw_fail(err, DW_E_PLUGIN, "%s: %s: %s", label, c->function, fault);
    return DW_OK;
}

dw_status dw_call_refuse(dw_call *c, dw_status st, dw_err *err, const char *fmt, ...)
{
    char text[1024], fault[sizeof c->of->fault];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    dw_fpmode_restore(&c->mode);
    finish(c, DOWEL_OK, fault, sizeof fault);
    return dw_fail(err, st, "%s: %s: %s", c->of->label, c->function, text);
}

/* ---- guarded output arrays ---- */

static const unsigned char canary[64] = {0xd0, 0x3e, 0x1c, 0xa5, 0x77, 0x0b, 0xe1, 0x92,
                                         0x5a, 0xc4, 0x38, 0xf6, 0x0d, 0x81, 0x2f, 0x6b};

/* A wrong reading of a canary as a double is small and finite, so writing past the end shows up
 * here and not as a number. */
void *dw_guard_make(dw_call *c, dw_guarded *g, const void *from, size_t bytes)
{
    char *p = dw_arena_alloc(&c->scratch, bytes + 2 * sizeof canary);
    memcpy(p, canary, sizeof canary);
    memcpy(p + sizeof canary + bytes, canary, sizeof canary);
    g->data = p + sizeof canary;
    g->bytes = bytes;
    if (from)
        memcpy(g->data, from, bytes);
    return g->data;
}

bool dw_guard_intact(const dw_guarded *g)
{
    const char *p = g->data;
    return !g->data || (!memcmp(p - sizeof canary, canary, sizeof canary) &&
                        !memcmp(p + g->bytes, canary, sizeof canary));
}

static dw_status overrun(dw_call *c, const char *array, dw_err *err)
{
    return dw_call_refuse(c, DW_E_PLUGIN, err,
                          "wrote outside the output array %s; memory may be damaged, so the run "
                          "stops",
                          array);
}

/* ---- observe ---- */

static dw_status check_request(dw_call *c, const dowel_request *ask, dw_err *err)
{
    const uint64_t known = (DOWEL_BIT(DOWEL_CHOICES + 1) - 1) |
                           ((DOWEL_BIT(DOWEL_HELD_LOGP + 1) - 1) & ~(DOWEL_BIT(16) - 1)) |
                           ((DOWEL_BIT(DOWEL_FIELD + 1) - 1) & ~(DOWEL_BIT(40) - 1));
    if (ask->columns & ~known)
        return dw_call_refuse(c, DW_E_PLUGIN, err,
                              "asks for column %d, which this dowel does not have",
                              __builtin_ctzll(ask->columns & ~known));
    if (ask->detached & ~ask->columns)
        return dw_call_refuse(c, DW_E_PLUGIN, err,
                              "detaches column %d without asking for it; add it to columns",
                              __builtin_ctzll(ask->detached & ~ask->columns));
    if (ask->together > DOWEL_BY_STEP || ask->divergence > DOWEL_SORTED_DISTANCE ||
        ask->against > DOWEL_REFERENCE || ask->extras >= DOWEL_WITH_MIXTURE * 2u)
        return dw_call_refuse(c, DW_E_PLUGIN, err,
                              "asks for together %u, divergence %u, against %u, extras 0x%x; one "
                              "of them is none of the numbers in plugin.h",
                              ask->together, ask->divergence, ask->against, ask->extras);
    if ((ask->columns & DOWEL_BIT(DOWEL_DIVERGENCE)) && !ask->divergence)
        return dw_call_refuse(c, DW_E_PLUGIN, err,
                              "asks for DIVERGENCE without saying which; set divergence");
    if (ask->divergence == DOWEL_SORTED_DISTANCE && ask->top_k)
        return dw_call_refuse(c, DW_E_PLUGIN, err,
                              "asks for a sorted distance over the likeliest %u tokens; it is of "
                              "the whole vocabulary",
                              ask->top_k);
    if (ask->value_width > 64 || ask->score_width > 64)
        return dw_call_refuse(c, DW_E_PLUGIN, err,
                              "asks for %u value and %u score heads, at most "
                              "64 are possible",
                              ask->value_width, ask->score_width);
    return DW_OK;
}

static dw_status observe_once(dw_instance *i, bool estimator, dowel_request *ask, dw_err *err)
{
    dw_call c;
    dowel_err e = dw_call_err();
    *ask = (dowel_request){.size = sizeof *ask};
    dw_call_begin(&c, i, "observe");
    dowel_status st = estimator ? i->info->estimator.observe(i->self, ask, &e)
                                : i->info->objective.observe(i->self, ask, &e);
    if (st == DOWEL_OK)
        DW_TRY(check_request(&c, ask, err));
    return dw_call_end(&c, st, &e, err);
}

static void unite(dowel_request *all, const dowel_request *one)
{
    uint64_t live = (all->columns & ~all->detached) | (one->columns & ~one->detached);
    all->columns |= one->columns;
    all->detached = all->columns & ~live;
    all->extras |= one->extras;
    if (one->together > all->together)
        all->together = one->together;
    if (one->value_width > all->value_width)
        all->value_width = one->value_width;
    if (one->score_width > all->score_width)
        all->score_width = one->score_width;
    if (!all->divergence) {
        all->divergence = one->divergence;
        all->against = one->against;
        all->beta = one->beta;
        all->temperature = one->temperature;
        all->top_k = one->top_k;
        all->tail = one->tail;
    }
    if (one->extra_samples > all->extra_samples)
        all->extra_samples = one->extra_samples;
    all->mixture = all->mixture > 0 ? all->mixture : one->mixture;
    all->choices = all->choices ? all->choices : one->choices;
    all->fields = all->fields ? all->fields : one->fields;
}

dw_status dw_call_observe(dw_instance *i, bool estimator, dowel_request *ask, dw_err *err)
{
    if (estimator && !i->info->estimator.observe) {
        *ask = (dowel_request){.size = sizeof *ask};
        return DW_OK;
    }
    DW_TRY(observe_once(i, estimator, ask, err));
    for (size_t k = 0; k < i->n_scheduled; k++) {
        const dw_scheduled *s = &i->scheduled[k];
        const double end[] = {s->span.lowest, s->span.highest};
        unsigned char now[8];
        char *field = (char *)i->config + s->param->offset;
        dw_status st = DW_OK;
        memcpy(now, field, sizeof now);
        for (int side = 0; st == DW_OK && side < 2; side++) {
            dowel_request one;
            st = dw_instance_set(i, s->param->name, end[side], err);
            if (st == DW_OK)
                st = observe_once(i, estimator, &one, err);
            if (st == DW_OK)
                unite(ask, &one);
        }
        memcpy(field, now, sizeof now);
        DW_TRY(st);
    }
    return DW_OK;
}

/* ---- survey, loss, step_end ---- */

static bool all_finite(const double *x, size_t n, size_t *where)
{
    for (size_t k = 0; k < n; k++) {
        if (!isfinite(x[k])) {
            *where = k;
            return false;
        }
    }
    return true;
}

static void add_into(double *to, const double *from, size_t n)
{
    for (size_t k = 0; k < n; k++)
        to[k] += from[k];
}

dw_status dw_call_survey(dw_instance *i, const dowel_batch *in, double *sum, dw_err *err)
{
    const dowel_objective *o = &i->info->objective;
    size_t where;
    if (!o->survey)
        return DW_OK;
    dw_call c;
    dw_guarded g = {0};
    dowel_err e = dw_call_err();
    dw_call_begin(&c, i, "survey");
    double *out = dw_guard_make(&c, &g, NULL, o->n_total * sizeof *out);
    dowel_status st = o->survey(i->self, in, out, &e);
    if (!dw_guard_intact(&g))
        return overrun(&c, "sum", err);
    if (st == DOWEL_OK && !all_finite(out, o->n_total, &where))
        return dw_call_refuse(&c, DW_E_NUMERIC, err, "total %zu is %g, expected a finite number",
                              where, out[where]);
    if (st == DOWEL_OK)
        add_into(sum, out, o->n_total);
    return dw_call_end(&c, st, &e, err);
}

/* The columns with gradients of our own, between canaries. */
typedef struct shadow {
    dowel_batch batch;
    dowel_column col[64];
    dw_guarded grad[64], tally, loss;
    uint32_t n_col;
} shadow;

static void make_shadow(dw_call *c, shadow *s, const dowel_batch *in, uint32_t n_tally)
{
    memset(s, 0, sizeof *s);
    s->batch = *in;
    s->n_col = in->n_col < 64 ? in->n_col : 64;
    for (uint32_t k = 0; k < s->n_col; k++) {
        s->col[k] = in->col[k];
        if (s->col[k].grad)
            s->col[k].grad = dw_guard_make(
                c, &s->grad[k], NULL, (size_t)in->col[k].rows * in->col[k].width * sizeof(double));
    }
    s->batch.col = s->col;
    s->batch.n_col = s->n_col;
    s->batch.tally = dw_guard_make(c, &s->tally, NULL, n_tally * sizeof(double));
    dw_guard_make(c, &s->loss, NULL, sizeof(double));
}

static const char *column_name(uint32_t k)
{
    static const char *const name[] = {"LOGP",      "ENTROPY",    "VALUE",  "SCORE",
                                       "MEAN_LOGP", "DIVERGENCE", "CHOICES"};
    return k < sizeof name / sizeof *name ? name[k] : "?";
}

/* Where the trouble came from, since a plugin given NaN can only return NaN. */
static const char *blame(const shadow *s)
{
    size_t where;
    for (uint32_t k = 0; k < s->n_col && k < 40; k++)
        if (s->col[k].x &&
            !all_finite(s->col[k].x, (size_t)s->col[k].rows * s->col[k].width, &where))
            return "; its inputs hold such numbers already, so the model has diverged";
    return "";
}

static bool by_token(uint32_t column)
{
    return column == DOWEL_LOGP || column == DOWEL_ENTROPY || column == DOWEL_VALUE ||
           column == DOWEL_MEAN_LOGP || column == DOWEL_DIVERGENCE;
}

static dw_status check_grad(dw_call *c, const shadow *s, uint32_t k, dw_err *err)
{
    const dowel_column *col = &s->col[k];
    size_t n = (size_t)col->rows * col->width, where;
    if (!all_finite(col->grad, n, &where))
        return dw_call_refuse(c, DW_E_NUMERIC, err,
                              "the derivative of %s, row %zu, is %g, expected a finite number%s",
                              column_name(k), where / col->width, col->grad[where], blame(s));
    if (!by_token(k) || col->rows != s->batch.n_tok || !s->batch.mask)
        return DW_OK;
    for (size_t j = 0; j < n; j++)
        if (col->grad[j] != 0 && !s->batch.mask[j / col->width])
            return dw_call_refuse(c, DW_E_PLUGIN, err,
                                  "the derivative of %s at token %zu is %g, expected 0: the token "
                                  "does not count (mask)",
                                  column_name(k), j / col->width, col->grad[j]);
    return DW_OK;
}

static dw_status check_loss(dw_call *c, const shadow *s, uint32_t n_tally, dw_err *err)
{
    size_t where;
    const double *loss = s->loss.data, *tally = s->tally.data;
    if (!isfinite(*loss))
        return dw_call_refuse(c, DW_E_NUMERIC, err, "the loss is %g, expected a finite number%s",
                              *loss, blame(s));
    for (uint32_t k = 0; k < s->n_col; k++)
        if (s->col[k].grad)
            DW_TRY(check_grad(c, s, k, err));
    if (!all_finite(tally, n_tally, &where))
        return dw_call_refuse(c, DW_E_NUMERIC, err, "tally %zu is %g, expected a finite number",
                              where, tally[where]);
    return DW_OK;
}

static dw_status check_canaries(dw_call *c, const shadow *s, dw_err *err)
{
    if (!dw_guard_intact(&s->loss))
        return overrun(c, "loss", err);
    if (!dw_guard_intact(&s->tally))
        return overrun(c, "tally", err);
    for (uint32_t k = 0; k < s->n_col; k++) {
        char name[40];
        snprintf(name, sizeof name, "grad of %s", column_name(k));
        if (!dw_guard_intact(&s->grad[k]))
            return overrun(c, name, err);
    }
    return DW_OK;
}

dw_status dw_call_loss(dw_instance *i, const dowel_batch *in, double *loss, dw_err *err)
{
    const dowel_objective *o = &i->info->objective;
    dw_call c;
    shadow s;
    dowel_err e = dw_call_err();
    dw_call_begin(&c, i, "loss");
    make_shadow(&c, &s, in, o->n_tally);
    dowel_status st = o->loss(i->self, &s.batch, s.loss.data, &e);
    DW_TRY(check_canaries(&c, &s, err));
    if (st == DOWEL_OK) {
        DW_TRY(check_loss(&c, &s, o->n_tally, err));
        *loss += *(double *)s.loss.data;
        for (uint32_t k = 0; k < s.n_col; k++)
            if (s.col[k].grad)
                add_into(in->col[k].grad, s.col[k].grad, (size_t)s.col[k].rows * s.col[k].width);
        if (in->tally)
            add_into(in->tally, s.tally.data, o->n_tally);
    }
    return dw_call_end(&c, st, &e, err);
}

dw_status dw_call_step_end(dw_instance *i, uint64_t step, const double *tally, dw_err *err)
{
    const dowel_objective *o = &i->info->objective;
    if (!o->step_end)
        return DW_OK;
    dw_call c;
    dowel_err e = dw_call_err();
    dw_call_begin(&c, i, "step_end");
    return dw_call_end(&c, o->step_end(i->self, step, tally, &e), &e, err);
}
