/* Reads and checks how a task samples its answers. */
#include "train/plan_rollout.h"

#include <string.h>

#include "train/plan_task.h"

enum { MAX_TOKENS = 1 << 22 };

static dw_status parse_dynamic(const dw_fields *rollout, dw_plan_rollout *r)
{
    static const char *const keys[] = {"part", "tries", NULL};
    const dw_json *v = dw_fields_get(rollout, "dynamic");
    dw_fields f;
    int64_t n;
    if (!v)
        return DW_OK;
    DW_TRY(dw_fields_open(rollout, v, dw_fields_path(rollout, "dynamic"), keys, &f));
    r->dynamic = "";
    if (dw_fields_get(&f, "part"))
        DW_TRY(dw_fields_str(&f, "part", NULL, &r->dynamic));
    DW_TRY(dw_fields_int(&f, "tries", 4, 1, 1000, &n));
    r->tries = (uint32_t)n;
    return DW_OK;
}

static dw_status parse_demonstrate(const dw_fields *rollout, const dw_json *functions,
                                   dw_plan_rollout *r)
{
    static const char *const keys[] = {"prompt", "part", "at_least", "own", "feedback", NULL};
    const dw_json *v = dw_fields_get(rollout, "demonstrate");
    dw_fields f;
    if (!v)
        return DW_OK;
    dw_plan_demonstrate *d = dw_arena_alloc(rollout->arena, sizeof *d);
    DW_TRY(dw_fields_open(rollout, v, dw_fields_path(rollout, "demonstrate"), keys, &f));
    DW_TRY(dw_plan_column(&f, "prompt", "row", functions, &d->prompt));
    if (!d->prompt.format && !d->prompt.lua)
        return dw_fields_fail(&f, "prompt",
                              "missing: a format or a function of the row, with 'demonstration' in "
                              "it, that the teacher reads");
    if (dw_fields_get(&f, "part"))
        DW_TRY(dw_fields_str(&f, "part", NULL, &d->part));
    DW_TRY(dw_fields_num(&f, "at_least", 1.0, -1e300, 1e300, &d->at_least));
    DW_TRY(dw_fields_bool(&f, "own", false, &d->own));
    if (dw_fields_get(&f, "feedback"))
        DW_TRY(dw_fields_str(&f, "feedback", NULL, &d->feedback));
    r->demonstrate = d;
    return DW_OK;
}

dw_status dw_plan_rollout_parse(const dw_fields *task, const dw_json *functions,
                                const dw_plan_rollout **out)
{
    static const char *const keys[] = {
        "samples", "temperature", "max_tokens", "top_k",   "top_p",       "min_p", "stop",
        "epochs",  "minibatches", "max_kl",     "dynamic", "demonstrate", NULL};
    const dw_json *v = dw_fields_get(task, "rollout");
    if (!v)
        return DW_OK;
    dw_plan_rollout *r = dw_arena_alloc(task->arena, sizeof *r);
    dw_fields f;
    int64_t n;
    DW_TRY(dw_fields_open(task, v, dw_fields_path(task, "rollout"), keys, &f));
    DW_TRY(dw_fields_int(&f, "samples", 8, 1, 4096, &n));
    r->samples = (uint32_t)n;
    DW_TRY(dw_fields_int(&f, "max_tokens", 256, 1, MAX_TOKENS, &n));
    r->max_tokens = (uint32_t)n;
    DW_TRY(dw_fields_int(&f, "top_k", 0, 0, INT32_MAX, &n));
    r->top_k = (uint32_t)n;
    DW_TRY(dw_fields_num(&f, "temperature", 1.0, 0.01, 100.0, &r->temperature));
    DW_TRY(dw_fields_num(&f, "top_p", 1.0, 1e-6, 1.0, &r->top_p));
    DW_TRY(dw_fields_num(&f, "min_p", 0.0, 0.0, 1.0, &r->min_p));
    DW_TRY(dw_fields_list(&f, "stop", &r->stop, &r->n_stop));
    DW_TRY(dw_fields_int(&f, "epochs", 1, 1, 1000, &n));
    r->epochs = (uint32_t)n;
    DW_TRY(dw_fields_int(&f, "minibatches", 1, 1, 4096, &n));
    r->minibatches = (uint32_t)n;
    DW_TRY(dw_fields_num(&f, "max_kl", 0.0, 0.0, 1e6, &r->max_kl));
    DW_TRY(parse_dynamic(&f, r));
    DW_TRY(parse_demonstrate(&f, functions, r));
    *out = r;
    return DW_OK;
}

/* what: where in the rollout the reward is named; name: NULL or "" names none. */
static dw_status check_reward(const dw_fields *task, const dw_plan_task *t, const char *what,
                              const char *name)
{
    bool known = !name || !name[0];
    for (size_t i = 0; i < t->n_reward && !known; i++)
        known = !strcmp(t->reward[i].name, name);
    return known ? DW_OK
                 : dw_fields_fail(task, "rollout", "%s: no reward '%s' in this task", what, name);
}

dw_status dw_plan_rollout_check(const dw_fields *task, const dw_plan_task *t)
{
    const dw_plan_rollout *r = t->rollout;
    const dw_plan_demonstrate *d = r ? r->demonstrate : NULL;
    if (!r)
        return DW_OK;
    if (r->dynamic && !t->n_reward)
        return dw_fields_fail(task, "rollout", "dynamic compares rewards, and this task has none");
    DW_TRY(check_reward(task, t, "dynamic.part", r->dynamic));
    if (!d)
        return DW_OK;
    if (!t->n_reward)
        return dw_fields_fail(task, "rollout",
                              "demonstrate takes answers that a reward finds good, and this task "
                              "has no reward");
    DW_TRY(check_reward(task, t, "demonstrate.part", d->part));
    return check_reward(task, t, "demonstrate.feedback", d->feedback);
}
