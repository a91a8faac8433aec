/* Moves the trained parameters: runs of equal decay through the tensor layer's update passes. */
#include "train/optim.h"

#include <math.h>
#include <string.h>

#include "tensor/vector.h"

static bool wants_m(const dw_plan_optimizer *plan)
{
    return !strcmp(plan->kind, "adamw") || plan->momentum != 0;
}

size_t dw_optim_bytes(const dw_plan_optimizer *plan, size_t n_params)
{
    size_t arenas = !strcmp(plan->kind, "adamw") ? 2 : wants_m(plan) ? 1 : 0;
    return arenas * n_params * sizeof(dw_real);
}

dw_status dw_optim_init(dw_optim *o, const dw_exec *x, dw_params *p, const dw_plan_optimizer *plan,
                        dw_err *err)
{
    *o = (dw_optim){.x = x,
                    .p = p,
                    .adamw = !strcmp(plan->kind, "adamw"),
                    .beta1 = plan->beta1,
                    .beta2 = plan->beta2,
                    .eps = plan->eps,
                    .decay = plan->weight_decay,
                    .momentum = plan->momentum,
                    .clip = plan->clip};
    size_t bytes = p->n * sizeof(dw_real);
    if (wants_m(plan))
        o->m = dw_tensor_map(bytes);
    if (o->adamw)
        o->v = dw_tensor_map(bytes);
    if ((wants_m(plan) && !o->m) || (o->adamw && !o->v)) {
        dw_optim_finish(o);
        return dw_fail(err, DW_E_LIMIT,
                       "no memory for the optimiser's state: %s over %zu parameters needs %zu MiB",
                       plan->kind, p->n, dw_optim_bytes(plan, p->n) >> 20);
    }
    return DW_OK;
}

void dw_optim_finish(dw_optim *o)
{
    if (o->m)
        dw_tensor_unmap(o->m, o->p->n * sizeof(dw_real));
    if (o->v)
        dw_tensor_unmap(o->v, o->p->n * sizeof(dw_real));
    o->m = o->v = NULL;
}

double dw_optim_norm(const dw_optim *o)
{
    return sqrt(dw_vec_sumsq(o->x, o->p->g, o->p->n));
}

static void update_range(dw_optim *o, double lr, double scale, bool decayed, size_t from,
                         size_t end)
{
    const dw_params *p = o->p;
    double decay = decayed ? o->decay : 0;
    if (o->adamw) {
        dw_adamw a = {.lr = lr,
                      .beta1 = o->beta1,
                      .beta2 = o->beta2,
                      .eps = o->eps,
                      .decay = decay,
                      .grad_scale = scale,
                      .step = o->step};
        dw_vec_adamw(o->x, &a, p->w + from, p->g + from, o->m + from, o->v + from, end - from);
        return;
    }
    dw_sgd s = {
        .lr = lr, .momentum = o->momentum, .decay = decay, .grad_scale = scale, .step = o->step};
    dw_vec_sgd(o->x, &s, p->w + from, p->g + from, o->m ? o->m + from : NULL, end - from);
}

void dw_optim_update(dw_optim *o, double lr, double norm)
{
    const dw_params *p = o->p;
    double scale = o->clip > 0 ? fmin(1, o->clip / (norm + 1e-6)) : 1; /* as PyTorch clips */
    o->step++;
    for (size_t i = 0; i < p->n_weight;) {
        size_t j = i;
        while (j < p->n_weight && p->weight[j].decay == p->weight[i].decay)
            j++;
        const dw_weight *last = &p->weight[j - 1];
        update_range(o, lr, scale, p->weight[i].decay, p->weight[i].offset,
                     last->offset + (size_t)last->rows * last->cols);
        i = j;
    }
}
