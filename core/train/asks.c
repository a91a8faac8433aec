/* Unites what the plugins of a task ask for, and checks it against the models that it names. */
#include "train/asks.h"

#include <string.h>

#include "train/observe.h"

typedef struct asker {
    const char *value, *score, *divergence, *teacher, *reference, *extras; /* who asked first */
    const char *mixture;
} asker;

static dw_status contradict(const char *what, const char *a, const char *b, dw_err *err)
{
    return dw_fail(err, DW_E_RECIPE,
                   "%s and %s ask for different %s, and a task has one; put them into two tasks", a,
                   b, what);
}

/* An estimator that leaves the width open takes what the losses ask for. */
static dw_status sum_width(uint32_t *width, uint32_t asked, bool open, const char **first,
                           const char *who, const char *what, dw_err *err)
{
    if (*width == 0 || (open && asked == 0)) {
        *width = *width ? *width : asked ? asked : 1;
        *first = *first ? *first : who;
        return DW_OK;
    }
    asked = asked ? asked : 1;
    return asked == *width ? DW_OK : contradict(what, *first, who, err);
}

static dw_status sum_divergence(dw_live_task *t, const dowel_request *r, asker *by, const char *who,
                                dw_err *err)
{
    const dw_divergence d = {.kind = (int)r->divergence,
                             .beta = r->beta,
                             .temperature = r->temperature,
                             .top_k = r->top_k,
                             .tail = r->tail != 0};
    const dw_divergence *o = &t->divergence;
    if (!o->kind) {
        t->divergence = d;
        t->against = r->against;
        by->divergence = who;
        return DW_OK;
    }
    bool same = o->kind == d.kind && o->beta == d.beta && o->temperature == d.temperature &&
                o->top_k == d.top_k && o->tail == d.tail && t->against == r->against;
    return same ? DW_OK : contradict("divergences", by->divergence, who, err);
}

/* GREEDY, REFERENCE and MIXTURE: how many per prompt, and how mixed. */
static dw_status sum_extras(dw_live_task *t, const dowel_request *r, asker *by, const char *who,
                            dw_err *err)
{
    uint32_t some = r->extras & (DOWEL_WITH_REFERENCE | DOWEL_WITH_MIXTURE);
    uint32_t samples = r->extra_samples ? r->extra_samples : 1;
    t->extras |= r->extras & ~(uint32_t)DOWEL_WITH_MISMATCHED;
    if (some && by->extras && t->extra_samples != samples)
        return contradict("numbers of extra answers", by->extras, who, err);
    if (some) {
        by->extras = by->extras ? by->extras : who;
        t->extra_samples = samples;
    }
    if (!(some & DOWEL_WITH_MIXTURE))
        return DW_OK;
    if (!(r->mixture >= 0 && r->mixture <= 1))
        return dw_fail(err, DW_E_PLUGIN,
                       "%s asks for a mixture with a share of %g of the reference, expected 0 to 1",
                       who, r->mixture);
    if (by->mixture && t->mixture != r->mixture)
        return contradict("mixtures", by->mixture, who, err);
    by->mixture = who;
    t->mixture = r->mixture;
    return DW_OK;
}

static dw_status learns_from_teacher(const dw_live_task *t, const dowel_request *r, asker *by,
                                     const char *who, dw_err *err)
{
    by->teacher = who;
    if (!t->plan->rollout || !t->plan->rollout->demonstrate || r->some_taught)
        return DW_OK;
    return dw_fail(err, DW_E_RECIPE,
                   "%s wants a teacher for every answer, and with rollout.demonstrate some have "
                   "none",
                   who);
}

static dw_status sum_use(dw_live_task *t, const dw_use *u, bool estimator, asker *by, dw_err *err)
{
    const dowel_request *r = &u->ask;
    const char *who = dw_instance_name(u->inst);
    bool diverges = (r->columns & DOWEL_BIT(DOWEL_DIVERGENCE)) != 0;
    t->columns |= r->columns;
    if (r->columns & DW_VALUE_COLUMNS)
        DW_TRY(sum_width(&t->value_width, r->value_width, estimator, &by->value, who,
                         "numbers of value heads", err));
    if (r->columns & DOWEL_BIT(DOWEL_SCORE))
        DW_TRY(sum_width(&t->score_width, r->score_width, estimator, &by->score, who,
                         "numbers of score channels", err));
    if (diverges)
        DW_TRY(sum_divergence(t, r, by, who, err));
    if ((r->columns & DOWEL_BIT(DOWEL_TEACHER_LOGP)) || (diverges && r->against == DOWEL_TEACHER))
        DW_TRY(learns_from_teacher(t, r, by, who, err));
    if ((r->columns & DOWEL_BIT(DOWEL_REF_LOGP)) || (diverges && r->against == DOWEL_REFERENCE) ||
        (r->extras & (DOWEL_WITH_REFERENCE | DOWEL_WITH_MIXTURE)))
        by->reference = who;
    DW_TRY(sum_extras(t, r, by, who, err));
    if (estimator)
        return DW_OK;
    t->moved |= r->columns & ~r->detached;
    t->by_group |= r->together == DOWEL_BY_GROUP;
    t->by_step |= r->together == DOWEL_BY_STEP;
    t->mismatched |= (r->extras & DOWEL_WITH_MISMATCHED) != 0;
    return DW_OK;
}

static dw_status check_roles(const dw_live_task *t, const asker *by, dw_err *err)
{
    const dw_plan_task *p = t->plan;
    if (by->teacher && p->teacher == DW_NO_MODEL)
        return dw_fail(err, DW_E_RECIPE,
                       "%s learns from a teacher, and the task names none; add a model to "
                       "models = { ... } and teacher = \"its name\", or teacher = \"self\"",
                       by->teacher);
    if (!by->teacher && p->teacher != DW_NO_MODEL)
        return dw_fail(err, DW_E_RECIPE, "teacher: nothing in this task learns from a teacher");
    if (!by->teacher && p->rollout && p->rollout->demonstrate)
        return dw_fail(err, DW_E_RECIPE,
                       "rollout.demonstrate: nothing in this task learns from a teacher");
    if (!by->reference && (p->reference != DW_NO_MODEL || p->reference_update.kind))
        return dw_fail(err, DW_E_RECIPE,
                       "reference: nothing in this task compares with a reference");
    if (!by->value && p->critic != DW_NO_MODEL)
        return dw_fail(err, DW_E_RECIPE, "critic: nothing in this task asks for values");
    return DW_OK;
}

dw_status dw_asks_sum(dw_live_task *t, dw_err *err)
{
    asker by = {0};
    for (size_t i = 0; i < t->n_objective; i++)
        DW_TRY(sum_use(t, &t->objective[i], false, &by, err));
    t->marks = (t->columns & (DOWEL_BIT(DOWEL_SCORE) | DOWEL_BIT(DOWEL_CHOICES))) != 0 ||
               t->plan->data.spec.type == DW_STEPS;
    if (t->estimator.inst)
        DW_TRY(sum_use(t, &t->estimator, true, &by, err));
    for (size_t i = 0; i < t->n_reward; i++)
        if (t->plan->reward[i].implicit)
            by.reference = t->plan->reward[i].name;
    /* Of given answers the old policy and the old critic are those of now. */
    if (!t->plan->rollout && (t->columns & DOWEL_BIT(DOWEL_OLD_LOGP)))
        t->columns |= DOWEL_BIT(DOWEL_LOGP);
    if (!t->plan->rollout && (t->columns & DOWEL_BIT(DOWEL_OLD_VALUE)))
        t->columns |= DOWEL_BIT(DOWEL_VALUE);
    return check_roles(t, &by, err);
}

dw_status dw_asks_choices(dw_live_task *t, dw_err *err)
{
    const dw_tokenizer *tok = dw_model_tokenizer(t->model->m);
    if (t->n_choice == 0)
        return DW_OK;
    if (!tok)
        return dw_fail(err, DW_E_INPUT, "%s has no tokenizer.json, which CHOICES needs",
                       dw_model_dir(t->model->m));
    t->choice = dw_arena_alloc(&t->job->arena, t->n_choice * sizeof *t->choice);
    for (size_t i = 0; i < t->n_choice; i++) {
        dw_ids ids = {0};
        const char *s = t->choice_text[i];
        dw_status st = dw_tokenizer_encode(tok, (dw_text){s, strlen(s)}, 0, &ids, err);
        if (st >= 0 && ids.n != 1)
            st = dw_fail(err, DW_E_RECIPE,
                         "the choice '%s' is %zu tokens in this model's vocabulary, and a choice "
                         "must be one",
                         s, ids.n);
        if (st >= 0)
            t->choice[i] = ids.id[0];
        dw_ids_finish(&ids);
        DW_TRY(st);
    }
    return DW_OK;
}
