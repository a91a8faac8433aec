/* A Lagrangian constraint: a multiplier that rises while a measured number is beyond its bound.
 *
 * With violation v = J - bound (at_most) or bound - J (at_least), J the mean over the last `window`
 * values:
 *   dual  lambda <- clamp(lambda + lr v, 0, max)                 projected dual ascent
 *   log   log lambda <- min(log lambda + lr lambda v, log max)   as PPO-Lag (Dai et al.
 * 2310.12773); never reaches 0 pid   lambda <- clamp(kp v + ki I + kd max(0, v - v'), 0, max), I <-
 * max(0, I + v), v' the violation before (Stooke et al. 2007.03964) */
#ifndef DW_TRAIN_CONSTRAINT_H
#define DW_TRAIN_CONSTRAINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum dw_constraint_kind { DW_DUAL, DW_LOG, DW_PID } dw_constraint_kind;

typedef struct dw_constraint_spec {
    dw_constraint_kind kind;
    double bound;
    bool at_least; /* else at most */
    double lr, start, max, kp, ki, kd;
    uint32_t window; /* values that J is the mean of, at least 1 */
} dw_constraint_spec;

enum { DW_CONSTRAINT_WINDOW = 1024 }; /* the largest */

typedef struct dw_constraint_state {
    double multiplier, integral, last; /* last: violation, NaN before the first */
    double *value;                     /* [window], the last ones; the caller's memory */
    uint32_t n, at;
} dw_constraint_state;

/* value: room for spec.window numbers. */
void dw_constraint_start(const dw_constraint_spec *s, double *value, dw_constraint_state *out);
/* Takes a new measurement (finite) and moves the multiplier; returns the violation. */
double dw_constraint_update(const dw_constraint_spec *s, dw_constraint_state *c, double measured);

#endif
