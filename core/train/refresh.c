/* Moves a frozen copy of a model after it. */
#include "train/refresh.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "tensor/vector.h"

dw_status dw_refresh_init(dw_refresh *r, const dw_plan_update *u, const dw_params *ref, dw_err *err)
{
    size_t bytes = ref->n * sizeof(dw_real);
    *r = (dw_refresh){.plan = u, .n = ref->n};
    if (u->kind != DW_UPDATE_BEMA)
        return DW_OK;
    r->ema = dw_tensor_map(bytes);
    r->start = dw_tensor_map(bytes);
    if (!r->ema || !r->start) {
        dw_refresh_finish(r);
        return dw_fail(err, DW_E_LIMIT, "no memory for the averages of a reference: %zu MiB",
                       2 * bytes >> 20);
    }
    memcpy(r->ema, ref->w, bytes);
    memcpy(r->start, ref->w, bytes);
    return DW_OK;
}

void dw_refresh_finish(dw_refresh *r)
{
    if (r->ema)
        dw_tensor_unmap(r->ema, r->n * sizeof(dw_real));
    if (r->start)
        dw_tensor_unmap(r->start, r->n * sizeof(dw_real));
    r->ema = r->start = NULL;
}

static void mix(const dw_plan_update *u, const dw_params *w, const dw_params *ref)
{
    for (size_t i = 0; i < w->n; i++)
        ref->w[i] = (dw_real)(u->alpha * (double)w->w[i] + (1 - u->alpha) * (double)ref->w[i]);
}

static void bema(dw_refresh *r, const dw_params *w, const dw_params *ref)
{
    const dw_plan_update *u = r->plan;
    double age = u->rho + u->gamma * (double)r->step;
    double beta = fmax(pow(age, -u->kappa), u->beta_min), alpha = pow(age, -u->eta);
    for (size_t i = 0; i < w->n; i++) {
        double now = (double)w->w[i];
        double ema = (1 - beta) * (double)r->ema[i] + beta * now;
        r->ema[i] = (dw_real)ema;
        ref->w[i] = (dw_real)(ema + alpha * (now - (double)r->start[i]));
    }
}

bool dw_refresh_step(dw_refresh *r, const dw_params *w, const dw_params *ref)
{
    dw_assert(w->n == ref->n);
    if (++r->step % r->plan->every != 0)
        return false;
    if (r->plan->kind == DW_UPDATE_MIX)
        mix(r->plan, w, ref);
    else
        bema(r, w, ref);
    return true;
}
