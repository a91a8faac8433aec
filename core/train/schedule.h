/* A number over steps: a constant, or one of the shapes that a recipe names. */
#ifndef DW_TRAIN_SCHEDULE_H
#define DW_TRAIN_SCHEDULE_H

#include <stdint.h>

#include "base/err.h"
#include "base/json.h"

typedef enum dw_shape { DW_CONSTANT, DW_LINEAR, DW_COSINE } dw_shape;

/* JSON: a number, or {"schedule":"constant","value":v,"warmup":w}
 *   {"schedule":"linear","from":a,"to":b,"warmup":w}   from a to b over the steps after the warm-up
 *   {"schedule":"cosine","peak":a,"final":b,"warmup":w}
 * "warmup" (default 0) steps rise from 0: at step s < w the value is first * (s + 1) / w. After
 * them the shape runs over t = (s - w) / (steps - w), as in transformers' schedulers, so that the
 * last step is one short of the end value: a rate that falls to 0 still moves in it. "final"
 * defaults to 0. */
typedef struct dw_schedule {
    dw_shape shape;
    double from, to;
    uint64_t warmup;
} dw_schedule;

/* Messages start with `name` ("optimizer.lr: ..."). */
dw_status dw_schedule_parse(const dw_json *v, const char *name, dw_schedule *out, dw_err *err);
double dw_schedule_at(const dw_schedule *s, uint64_t step, uint64_t steps); /* step from 0 */

#endif
