/* How a task samples answers, as part of a plan. */
#ifndef DW_TRAIN_PLAN_ROLLOUT_H
#define DW_TRAIN_PLAN_ROLLOUT_H

#include "data/dataset.h"
#include "train/fields.h"

/* What a teacher reads beside the prompt: an answer of the same group that did well. */
typedef struct dw_plan_demonstrate {
    dw_column prompt; /* of the row with "demonstration" and "feedback" added */
    const char *part; /* reward that says which did well; NULL: the total */
    double at_least;
    bool own;             /* an answer may be its own demonstration */
    const char *feedback; /* reward whose explanation is the feedback; NULL: none */
} dw_plan_demonstrate;

typedef struct dw_plan_rollout {
    uint32_t epochs, minibatches; /* a rollout is trained on epochs x minibatches steps */
    double max_kl;                /* its remaining steps are left out beyond; 0: never */
    const char *dynamic;          /* "" (the total) or the reward whose flat groups are replaced;
                                     NULL: all groups are taken */
    uint32_t tries;               /* at most so many rounds of sampling, with dynamic */
    const dw_plan_demonstrate *demonstrate; /* NULL: the teacher reads what the data says */
    uint32_t samples, max_tokens, top_k;
    double temperature, top_p, min_p;
    const char *const *stop;
    size_t n_stop;
} dw_plan_rollout;

/* The steps' values as the answer's own score; none: they are rewards of tokens alone. */
typedef enum dw_step_total {
    DW_STEPS_NONE,
    DW_STEPS_MIN,
    DW_STEPS_PROD,
    DW_STEPS_MEAN,
    DW_STEPS_LAST
} dw_step_total;
extern const char *const dw_plan_step_totals[];

/* *out stays NULL where the task samples nothing. */
dw_status dw_plan_rollout_parse(const dw_fields *task, const dw_json *functions,
                                const dw_plan_rollout **out);
/* The rewards that it names are the task's. */
struct dw_plan_task;
dw_status dw_plan_rollout_check(const dw_fields *task, const struct dw_plan_task *t);

#endif
