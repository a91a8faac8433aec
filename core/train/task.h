/* What a plan becomes once it is opened: tasks with their data, plugin instances, and what those
 * ask for. */
#ifndef DW_TRAIN_TASK_H
#define DW_TRAIN_TASK_H

#include "data/order.h"
#include "plug/plug.h"
#include "train/metrics.h"
#include "train/models.h"
#include "train/plan.h"
#include "train/run.h"

/* A tunable option that follows a schedule. */
typedef struct dw_scheduled {
    const char *option;
    dw_schedule at;
} dw_scheduled;

/* One use of a plugin (or of a Lua reward) in a task. */
typedef struct dw_use {
    const dw_plan_use *plan;
    struct dw_live_task *task;
    dw_instance *inst; /* NULL: Lua */
    dw_json *options;  /* complete */
    bool shared;       /* an estimator that is the first objective's instance */
    dw_scheduled *scheduled;
    size_t n_scheduled;
    dowel_request ask; /* union over the ends of the schedules */
    uint32_t *field;   /* [n_field] its fields' places in the task's list */
    uint32_t n_field;
    uint32_t *choice; /* [n_choice] its choices' places in the task's list */
    uint32_t n_choice;
    const char *prefix;    /* of its metrics: "", "arith/", "arith/grpo/" */
    double *total, *tally; /* of the current step */
} dw_use;

typedef struct dw_live_task {
    struct dw_job *job;
    const dw_plan_task *plan;
    uint64_t seed;
    dw_dataset *data, *eval; /* eval: NULL without one */
    dw_overlap overlap;      /* of the two */
    dw_chat *chat[2];        /* of data and eval: what messages are written with; or NULL */
    dw_use *objective, *reward;
    size_t n_objective, n_reward;
    dw_use estimator; /* inst NULL without one */
    uint64_t columns; /* union of what its instances ask for */
    uint64_t moved;   /* those of them that some objective differentiates */
    dw_live_model *model;
    dw_live_model *critic; /* NULL where nobody asks for VALUE; may be the model */
    dw_read value_by;      /* which of the critic's heads is the value */
    uint32_t value_width, score_width;
    struct dw_reference *reference, *teacher; /* NULL where nobody asks for them */
    dw_divergence divergence;                 /* kind 0: none; `other` is left to the pass */
    uint32_t against;                         /* DOWEL_TEACHER or DOWEL_REFERENCE */
    const char **choice_text;                 /* [n_choice] tokens that CHOICES reads */
    int32_t *choice;
    size_t n_choice;
    bool by_group, by_step;
    bool marks;      /* SCORE or CHOICES are read, or the data has steps */
    bool mismatched; /* some objective surveys MISMATCHED sequences */
    uint32_t extras; /* DOWEL_WITH_GREEDY, _REFERENCE, _MIXTURE: beside the sampled answers */
    uint32_t extra_samples; /* of each of the last two, per prompt */
    double mixture;         /* share of the reference in DOWEL_WITH_MIXTURE */
    const char **field;     /* [n_field] the rows' numbers that somebody asks for */
    size_t n_field;
    const char *prefix;    /* "" or "NAME/" */
    const char **part;     /* names of the rewards, [n_reward] */
    double *part_weight;   /* [n_reward] */
    uint64_t cursor;       /* rows consumed so far over the whole run */
    uint64_t rollouts;     /* finished so far over the whole run */
    uint64_t used;         /* prompts of the one that is being trained on */
    struct dw_held *held;  /* a rollout with steps left, or NULL */
    uint64_t best_step;    /* evaluation bookkeeping */
    double best;           /* NaN: none yet */
    uint32_t without_gain; /* evaluations since the best */
} dw_live_task;

/* Everything that is open while a plan runs. */
typedef struct dw_job {
    dw_plan *plan;
    const dw_callbacks *cb; /* or NULL */
    dw_registry *reg;
    const dw_exec *x;
    dw_live_model *models; /* [n_models], as in the plan */
    size_t n_models;
    dw_model *model; /* the policy */
    dw_live_task *task;
    size_t n_task;
    dw_arena arena;
    dw_metrics *sink;                /* where metrics go now; NULL: nowhere */
    uint64_t step;                   /* finished steps */
    struct dw_reference **reference; /* [n_reference] frozen copies that tasks compare with */
    size_t n_reference;
    struct dw_progress *progress;
    struct dw_mix *mix;      /* weights and multipliers that follow from the past */
    dw_buf *samples;         /* lines for samples.jsonl; NULL: not kept */
    struct dw_store *replay; /* rollouts come from here; NULL: they are sampled */
    bool score_again;        /* and are scored as if they were new */
    const char *record;      /* folder that rollouts are written to, or NULL */
} dw_job;

/* Finds and creates plugin instances, asks them what they need, opens the models accordingly, and
 * loads the data.
 * Messages start with "tasks.NAME". */
dw_status dw_task_open_all(dw_job *job, dw_err *err);
void dw_task_close_all(dw_job *job);
/* A line where rows of eval are in the training data. */
void dw_task_print_overlap(const dw_live_task *t, dw_buf *out);
/* Writes scheduled options for step `step` (from 0). */
dw_status dw_task_schedule(dw_job *job, uint64_t step, dw_err *err);
/* Part of stored runs: a name as a number. */
uint64_t dw_task_hash(const char *name);
/* Weight of a task at a step (from 0): 0 means that it rests. What a Lua function says is known for
 * the job's current step only, and is 1 elsewhere; multipliers of constraints are not in it. */
double dw_task_weight(const dw_job *job, size_t task, uint64_t step);

/* Every plugin instance of the job once, in plan order, with its address "task.objectives.dpo". */
typedef void (*dw_each_instance)(void *ctx, dw_instance *i, const char *address);
void dw_task_instances(const dw_job *job, dw_each_instance fn, void *ctx);

#endif
