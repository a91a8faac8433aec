/* The plan: a recipe evaluated to plain data, every default filled in. plan.json is the only thing
 * the run phase reads; scripts/dowel.lua and core/script write it, dw_plan_parse checks it again.
 *
 * plan.json (`dowel plan` prints every key; a missing key takes its default, an unknown one is an
 * error):
 *
 * { "dowel": 1, "name": "...", "seed": 17,
 *   "model": { "path": "/abs", "init": false,         // init: random weights from config.json
 *              "storage": "source",       // of frozen matrices in memory; "float32", "bfloat16"
 *              "adapter": null | { "rank": 16, "alpha": 32, "rslora": false, "targets": ["q"] },
 *              "freeze": [[0, 100]],      // steps from .. to - 1: it does not move in them
 *              "eos_token": null | "..." },  // ends an answer beside what the model's files name
 *   "models": { "NAME": { ...as "model", "trains": true,
 *                         "optimizer": null | OPTIMIZER } },     // null: the plan's
 *       // "model" is the one named "policy"; a model trains where a task names it model or critic
 *   "plugin_dirs": ["/abs"], "threads": 0,            // 0: all; --threads wins
 *   "tasks": { "NAME": {
 *       "model": "policy",           // whose answers and scores the objectives see, and train
 *       "critic": null | "NAME",     // null: VALUE is a head on the task's model
 *       "reference": null | "NAME",  // null: the start of the task's model
 *       "teacher": null | "NAME" | "self",  // self: the start of the task's model
 *       "reference_update": null | UPDATE, "teacher_update": null | UPDATE,
 *       "data": DATA, "rows": 16,
 *       "rollout": null | { "samples": 8, "temperature": 1.0, "max_tokens": 256, "top_k": 0,
 *                           "epochs": 1, "minibatches": 1, "max_kl": 0,
 *                           "dynamic": null | { "part": null|"REWARD", "tries": 4 },
 *                           "demonstrate": null | { "prompt": COLUMN, "part": null|"REWARD",
 *                             "at_least": 1, "own": false, "feedback": null|"REWARD" },
 *                           "top_p": 1.0, "min_p": 0.0, "stop": ["..."] },
 *       "rewards": { "NAME": { "weight": 1.0, "plugin": "match", "options": {...} }
 *                  | { "weight": 1.0, "lua": "FUNCTION" }
 *                  | { "weight": 1.0, "model": "NAME",    // its score head's number
 *                      "separator": null | "...",         // token models: end of a step, "\n"
 *                      "signed": false,                   // 2 p - 1 instead of p
 *                      "steps": "none"|"min"|"prod"|"mean"|"last",  // also as one score
 *                      "implicit": false } },  // causal: log p - log reference of each token
 *       "estimator": null | { "plugin": "grpo", "options": {...} },
 *            // null with a rollout: the first objective that is one, same instance
 *       "objectives": { "NAME": { "plugin": "dpo", "weight": 1.0, "options": {...} } },
 *       "eval": null | { "data": DATA, "every": 50, "patience": 0, "metric": "loss", "greater":
 *                        false, "samples": 1, "at_start": true } } },
 *   "schedule": [ { "steps": 200, "weights": { "sft": NUMBER|SCHEDULE|{"lua":FUNCTION} } } ],
 *       // one task, one phase: may have "epochs": 2.5; a run sets "steps" from the rows it keeps
 *   "optimizer": OPTIMIZER,
 *   "micro_tokens": 4096,      // a micro-batch holds at most so many unique tokens (pairs whole)
 *   "save_every": 0, "keep": 2, "save_dtype": "source"|"float32"|"bfloat16"|"float16",
 *   "save_merged": false,
 *   "combine": ..., "gradients_every": 0, "constraints": {...}, "limits": {...},  // plan_mix.h
 *   "functions": { "FUNCTION": "reward"|"weight"|"row"|"value" }   // Lua; the last two of columns
 * }
 * OPTIMIZER: { "kind": "adamw", "lr": NUMBER|SCHEDULE, "betas": [0.9, 0.999], "eps": 1e-8,
 *              "weight_decay": 0.0, "momentum": 0.0, "clip": 1.0 }
 * UPDATE: { "kind": "mix", "alpha": 0.6, "every": 512 }    // ref = alpha w + (1 - alpha) ref
 *       | { "kind": "bema", "every": 400, "kappa": 0.5, "eta": 0.2, "rho": 10, "gamma": 1,
 *           "beta_min": 0 }     // train/refresh.h
 * DATA: { "type": "pairs", "files": ["/abs"], "columns": { "prompt": COLUMN, ... },
 *         "split_marker": null, "add_eos": true, "add_bos": true, "max_tokens": 0, "max_rows": 0,
 *         "on_bad_row": "error"|"skip", "on_long": "drop"|"cut_prompt"|"error", "shuffle": true,
 *         "template": null | "/abs", "layout": "none"|"sharegpt"|"alpaca", "role_key": null,
 *         "content_key": null, "loss_on": "assistant"|"all",    // rows of messages: data/talk.h
 *         "map": null | "FUNCTION" }                            // of a row: another, or null
 *   steps: also "separator": null (a line feed); their add_eos is false unless given
 * COLUMN: { "field": "prompt" } | { "format": "{a} {b}" } | { "lua": "FUNCTION" }
 * Options of plugins are complete; a scheduled one is a SCHEDULE object (train/schedule.h).
 * The hash of a plan covers everything but paths (files enter by content), threads and kernel. */
#ifndef DW_TRAIN_PLAN_H
#define DW_TRAIN_PLAN_H

#include "base/arena.h"
#include "base/json.h"
#include "data/dataset.h"
#include "model/model.h"
#include "train/plan_mix.h"
#include "train/plan_rollout.h"
#include "train/schedule.h"

/* What to do with rows of eval that training sees, too. */
typedef enum { DW_OVERLAP_KEEP, DW_OVERLAP_DROP, DW_OVERLAP_ERROR } dw_plan_overlap;
typedef struct dw_plan_data {
    dw_data_spec spec;
    bool shuffle;
    double fraction;                 /* of a mixture: the weight of this source */
    const struct dw_plan_data *also; /* [n_also] the other sources */
    size_t n_also, overlap;          /* a dw_plan_overlap */
} dw_plan_data;

typedef struct dw_plan_use { /* of a plugin, or of a Lua reward */
    const char *name;        /* the recipe's */
    double weight;
    const char *plugin; /* NULL: lua */
    const char *lua;
    int model;              /* of a reward that is a model's score; else DW_NO_MODEL */
    const char *separator;  /* of a token model's steps; NULL: a line feed */
    bool is_signed;         /* of steps: 2 p - 1 instead of p */
    bool implicit;          /* log-probability less the reference's, token by token */
    dw_step_total steps;    /* what a token model's steps are as one score */
    const dw_json *options; /* complete */
} dw_plan_use;

typedef struct dw_plan_optimizer {
    const char *kind; /* "adamw", "sgd" */
    dw_schedule lr;
    double beta1, beta2, eps, weight_decay, momentum, clip;
} dw_plan_optimizer;

typedef struct dw_plan_model {
    const char *name; /* the first one's is "policy" */
    const char *path;
    const char *eos_token; /* also ends an answer; NULL: as the model's files say */
    bool init, has_lora, trains;
    bool writable;      /* frozen, but the program at hand changes its weights; in no recipe */
    dw_storage storage; /* of the matrices that do not train */
    dw_lora_spec lora;
    bool own_optimizer;
    dw_plan_optimizer optimizer; /* the plan's where it has none of its own */
    uint64_t (*freeze)[2];       /* [n_freeze] steps from .. to - 1 */
    size_t n_freeze;
} dw_plan_model;

typedef enum dw_update_kind { DW_UPDATE_NONE, DW_UPDATE_MIX, DW_UPDATE_BEMA } dw_update_kind;
/* How a frozen copy follows the model that trains. */
typedef struct dw_plan_update {
    dw_update_kind kind;
    uint32_t every;
    double alpha;                            /* mix */
    double kappa, eta, rho, gamma, beta_min; /* bema */
} dw_plan_update;

enum { DW_NO_MODEL = -1, DW_MODEL_SELF = -2 };

typedef struct dw_plan_eval {
    dw_plan_data data;
    uint32_t every, patience, samples;
    const char *metric; /* without "eval_" and task: "loss", "rewards/accuracies" */
    bool greater, at_start;
} dw_plan_eval;

typedef struct dw_plan_task {
    const char *name;
    int model;                      /* number in dw_plan.model */
    int critic, reference, teacher; /* or DW_NO_MODEL; teacher: or DW_MODEL_SELF */
    dw_plan_update reference_update, teacher_update;
    dw_plan_data data;
    uint32_t rows;
    const dw_plan_rollout *rollout; /* or NULL */
    const dw_plan_use *reward, *objective;
    size_t n_reward, n_objective;
    const dw_plan_use *estimator; /* or NULL */
    const dw_plan_eval *eval;     /* or NULL */
} dw_plan_task;

typedef struct dw_plan_phase {
    uint64_t steps;
    double epochs;          /* 0, or what `steps` is worked out from once the rows are read */
    dw_schedule *weight;    /* [n_task]; 0: the task rests */
    const char **weight_fn; /* [n_task]; a Lua function of the metrics so far, or NULL */
} dw_plan_phase;

typedef struct dw_plan {
    dw_arena arena;
    dw_json *root; /* owns the texts below */
    const char *name;
    uint64_t seed, steps; /* steps: sum over phases */
    dw_plan_model *model; /* [n_model] the policy, then "models" by name */
    size_t n_model;
    const char *const *plugin_dir;
    size_t n_plugin_dir;
    int threads;
    dw_plan_task *task;
    size_t n_task;
    dw_plan_phase *phase;
    size_t n_phase;
    dw_plan_optimizer optimizer;
    uint32_t micro_tokens, save_every, keep;
    dw_save_dtype save_dtype;
    bool save_merged;
    dw_plan_mix mix;
    bool has_functions;
} dw_plan;

/* May this name a folder? Letters, digits, '_', '-' and '.', not hidden, at most 100 bytes. */
bool dw_plan_name_ok(const char *name);
/* Is this path the result of an earlier stage ("stage:NAME/final", train/program.h)? */
bool dw_plan_is_ref(const char *path);
/* Sets the steps of a plan in epochs, now that its task keeps `rows` rows; else does nothing. */
void dw_plan_settle(dw_plan *p, size_t rows);
/* Takes over `root`. Checks structure, types, ranges and cross references (not plugin options, not
 * files). Messages start with the dotted path: "tasks.main.rollout.samples: ...". */
dw_status dw_plan_parse(dw_json *root, dw_plan **out, dw_err *err);
dw_status dw_plan_read(const char *path, dw_plan **out, dw_err *err);
void dw_plan_free(dw_plan *p);                     /* accepts NULL */
void dw_plan_print(const dw_plan *p, dw_buf *out); /* canonical JSON, sorted, for people */

#endif
