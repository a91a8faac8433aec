/* Keeps each objective's gradient apart until they are combined. */
#include "train/component.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "tensor/vector.h"

bool dw_components_ever(const dw_job *job)
{
    const dw_plan_mix *m = &job->plan->mix;
    return m->combine.kind != DW_COMBINE_SUM || m->gradients_every > 0;
}

bool dw_components_wanted(const dw_job *job)
{
    const dw_plan_mix *m = &job->plan->mix;
    return dw_components_ever(job) &&
           (m->combine.kind != DW_COMBINE_SUM || job->step % m->gradients_every == 0);
}

size_t dw_components_most(const dw_job *job)
{
    size_t n = 0;
    for (size_t i = 0; i < job->n_task; i++)
        n += job->task[i].n_objective;
    return n;
}

static void release(dw_components *c)
{
    for (size_t i = 0; i < c->cap; i++)
        if (c->item[i].g)
            dw_tensor_unmap(c->item[i].g, c->p->n * sizeof(dw_real));
    dw_free(c->item);
    dw_arena_finish(&c->arena);
}

dw_status dw_components_begin(dw_components *c, dw_job *job, dw_err *err)
{
    *c = (dw_components){.job = job, .p = dw_model_trained(dw_models_lead(job)->m)};
    c->cap = dw_components_most(job);
    c->item = dw_zalloc(c->cap + 1, sizeof *c->item);
    for (size_t i = 0; i < c->cap; i++) {
        c->item[i].g = dw_tensor_map(c->p->n * sizeof(dw_real));
        if (c->item[i].g)
            continue;
        release(c);
        return dw_fail(err, DW_E_LIMIT,
                       "no memory for the gradients of %zu objectives apart: %zu MiB more are "
                       "needed; leave out 'combine' and 'gradients_every'",
                       c->cap, (c->cap * c->p->n * sizeof(dw_real)) >> 20);
    }
    return DW_OK;
}

/* Puts the running objective's gradient aside; the engine knows one place to write to. */
static void put_aside(dw_components *c)
{
    if (c->n == 0)
        return;
    memcpy(c->item[c->n - 1].g, c->p->g, c->p->n * sizeof(dw_real));
    dw_vec_zero(c->job->x, c->p->g, c->p->n);
}

void dw_components_next(dw_components *c, const char *name, double weight)
{
    dw_assert(c->n < c->cap);
    put_aside(c);
    c->item[c->n].name = dw_arena_strdup(&c->arena, name);
    c->item[c->n++].weight = weight;
}

static void put(dw_metrics *to, const char *name, const char *what, double value)
{
    char full[512];
    snprintf(full, sizeof full, "gradients/%s/%s", name, what);
    dw_metrics_set(to, full, value);
}

static void report(const dw_components *c, const double *gram, const double *coefficient)
{
    dw_metrics *to = c->job->sink;
    double pairs = 0, against = 0;
    size_t n = c->n;
    for (size_t i = 0; to && i < n; i++) {
        double norm = sqrt(gram[i * n + i]);
        put(to, c->item[i].name, "norm", norm);
        put(to, c->item[i].name, "coefficient", coefficient[i]);
        for (size_t j = i + 1; j < n; j++) {
            double both = norm * sqrt(gram[j * n + j]);
            if (both == 0)
                continue;
            char two[384];
            snprintf(two, sizeof two, "%s~%s", c->item[i].name, c->item[j].name);
            put(to, two, "cosine", gram[i * n + j] / both);
            pairs++;
            against += gram[i * n + j] < 0;
        }
    }
    if (to && pairs > 0)
        dw_metrics_set(to, "gradients/conflict_rate", against / pairs);
}

void dw_components_end(dw_components *c)
{
    const dw_exec *x = c->job->x;
    size_t n = c->n;
    put_aside(c);
    double *gram = dw_zalloc(n * n + 1, sizeof *gram), *weight = dw_zalloc(n + 1, sizeof *weight),
           *out = dw_zalloc(n + 1, sizeof *out);
    for (size_t i = 0; i < n; i++) {
        weight[i] = c->item[i].weight;
        for (size_t j = i; j < n; j++)
            gram[i * n + j] = gram[j * n + i] = dw_vec_dot(x, c->item[i].g, c->item[j].g, c->p->n);
    }
    dw_combine(&c->job->plan->mix.combine, gram, weight, n, c->job->plan->seed, c->job->step,
               dw_mix_reference(c->job->mix), out);
    for (size_t i = 0; i < n; i++)
        dw_vec_add(x, c->p->g, c->item[i].g, (dw_real)out[i], c->p->n);
    report(c, gram, out);
    dw_free(out);
    dw_free(weight);
    dw_free(gram);
    release(c);
}
