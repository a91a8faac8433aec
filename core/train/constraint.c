/* Moves the multiplier of a constraint after a measurement. */
#include "train/constraint.h"

#include <math.h>

void dw_constraint_start(const dw_constraint_spec *s, double *value, dw_constraint_state *out)
{
    *out = (dw_constraint_state){.multiplier = s->start, .last = NAN, .value = value};
}

static double mean(const dw_constraint_state *c)
{
    double sum = 0;
    for (uint32_t i = 0; i < c->n; i++)
        sum += c->value[i];
    return sum / c->n;
}

double dw_constraint_update(const dw_constraint_spec *s, dw_constraint_state *c, double measured)
{
    c->value[c->at] = measured;
    c->at = (c->at + 1) % s->window;
    if (c->n < s->window)
        c->n++;
    double v = s->at_least ? s->bound - mean(c) : mean(c) - s->bound;
    double rise = isnan(c->last) ? 0 : fmax(0, v - c->last), m = c->multiplier;
    c->last = v;
    switch (s->kind) {
    case DW_DUAL:
        m += s->lr * v;
        break;
    case DW_LOG:
        m = exp(fmin(log(m) + s->lr * m * v, log(s->max)));
        break;
    case DW_PID:
        c->integral = fmax(0, c->integral + v);
        m = s->kp * v + s->ki * c->integral + s->kd * rise;
        break;
    }
    c->multiplier = fmin(fmax(m, 0), s->max);
    return v;
}
