/* What a plan would cost: rows, tokens, steps and memory, before anything is trained. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "train/component.h"
#include "train/live.h"
#include "train/talk.h"

/* The largest micro-batch that the first steps of a task will make. */
typedef struct shape {
    dw_engine_need need;
    size_t tokens; /* of a typical step */
    size_t micro;  /* micro-batches of it */
} shape;

static void widen(shape *s, dw_arena *a, const dw_packable *pack, size_t n)
{
    dw_pack p;
    size_t sq = 0, rows = 0;
    dw_pack_build(a, pack, n, &p);
    for (size_t i = 0; i < p.forest.n_seg; i++) {
        const dw_segment *g = &p.forest.seg[i];
        size_t path = (size_t)g->pos0 + g->len;
        sq += path * path;
    }
    for (size_t i = 0; i < p.n_tok; i++)
        rows += i == 0 || p.pair[i].row != p.pair[i - 1].row;
#define MAX_OF(field, v) s->need.field = s->need.field > (v) ? s->need.field : (v)
    MAX_OF(rows, p.forest.n_row);
    MAX_OF(sum_len_sq, sq);
    MAX_OF(head_rows, rows);
    MAX_OF(head_pairs, p.n_tok);
#undef MAX_OF
}

static void measure(shape *s, dw_arena *a, const dw_set *set, uint32_t micro_tokens)
{
    s->tokens = (size_t)set->input_tokens;
    s->micro = 0;
    for (size_t i = 0; i < set->n_seq; s->micro++) {
        size_t end = dw_pack_cut(set->pack, set->n_seq, i, micro_tokens);
        widen(s, a, set->pack + i, end - i);
        i = end;
    }
}

/* Every answer as long as it may get. */
static dw_status imagine_rollout(dw_live_task *t, dw_arena *a, dw_set *out)
{
    const dw_plan_rollout *r = t->plan->rollout;
    int32_t *blank = dw_arena_alloc(a, (r->max_tokens + (size_t)1) * sizeof *blank);
    dw_set_init(out, t, a, (size_t)t->plan->rows * r->samples, 0);
    for (uint32_t i = 0; i < t->plan->rows; i++) {
        const dw_row *row = dw_set_row(t, i);
        dw_seq q = {.row = row, .mate = -1, .group = (int32_t)i};
        for (uint32_t k = 0; k < r->samples; k++)
            dw_set_add(out, &q, row->prompt, row->n_prompt, blank, r->max_tokens);
    }
    dw_set_seal(out);
    return DW_OK;
}

static dw_status shape_of(dw_live *l, dw_live_task *t, shape *s, dw_err *err)
{
    enum { LOOK = 64 }; /* steps */
    dw_arena a = {0};
    dw_status st = DW_OK;
    uint64_t steps = t->plan->rollout ? 1 : LOOK;
    *s =
        (shape){.need = {.save = true, .entropy_grad = (t->moved & DOWEL_BIT(DOWEL_ENTROPY)) != 0}};
    for (uint64_t k = 0; k < steps && st >= 0; k++) {
        dw_set set;
        st = t->plan->rollout
                 ? imagine_rollout(t, &a, &set)
                 : dw_set_from_rows(&set, t, &a, k * t->plan->rows, t->plan->rows, 0, err);
        if (st >= 0)
            measure(s, &a, &set, l->job.plan->micro_tokens);
        dw_arena_reset(&a);
    }
    dw_arena_finish(&a);
    return st;
}

static size_t generation_bytes(const dw_live *l, const dw_live_task *t)
{
    const dw_plan_rollout *r = t->plan->rollout;
    if (!r)
        return 0;
    size_t longest = 0;
    for (size_t i = 0; i < dw_dataset_len(t->data); i++) {
        size_t n = dw_dataset_row(t->data, i)->n_prompt;
        longest = n > longest ? n : longest;
    }
    size_t live = (size_t)t->plan->rows * r->samples;
    live = live < 32 ? live : 32;
    return dw_generate_bytes(t->model->m, t->plan->rows, longest, live, r->max_tokens);
}

/* Which models a task runs, where there are several. */
static void put_roles(const dw_live_task *t, dw_buf *out)
{
    const dw_plan_task *p = t->plan;
    const dw_live_model *all = t->job->models;
    if (t->job->n_models == 1)
        return;
    dw_buf_printf(out, "  model       %s\n", t->model->plan->name);
    if (t->critic)
        dw_buf_printf(out, "  critic      %s\n",
                      t->critic == t->model ? "a value head on the model" : t->critic->plan->name);
    if (p->reference >= 0)
        dw_buf_printf(out, "  reference   %s\n", all[p->reference].plan->name);
    if (p->teacher >= 0)
        dw_buf_printf(out, "  teacher     %s\n", all[p->teacher].plan->name);
}

static void put_reward(const dw_live_task *t, size_t k, dw_buf *out)
{
    int m = t->plan->reward[k].model;
    dw_buf_printf(out, "  reward      %g x %s", t->part_weight[k], t->part[k]);
    if (m != DW_NO_MODEL)
        dw_buf_printf(out, " (model %s%s)", t->job->models[m].plan->name,
                      t->job->models[m].plan->trains ? ", which trains meanwhile" : "");
    dw_buf_addc(out, '\n');
}

static void put_task(const dw_live *l, size_t i, const shape *s, dw_buf *out)
{
    const dw_live_task *t = &l->job.task[i];
    const dw_data_counts *c = dw_dataset_counts(t->data);
    dw_buf_printf(out, "task %s\n", t->plan->name);
    dw_buf_printf(out, "  data        %zu %s, %" PRIu64 " tokens, longest row %u\n",
                  dw_dataset_len(t->data), dw_data_type_name(t->plan->data.spec.type), c->tokens,
                  c->longest);
    dw_buf_adds(out, "  rows        ");
    dw_task_talk_print(t, &t->plan->data.spec, t->data, out);
    dw_buf_addc(out, '\n');
    put_roles(t, out);
    if (t->plan->rollout)
        dw_buf_printf(out, "  rollout     %u samples of up to %u tokens a prompt\n",
                      t->plan->rollout->samples, t->plan->rollout->max_tokens);
    for (size_t k = 0; k < t->n_reward; k++)
        put_reward(t, k, out);
    for (size_t k = 0; k < t->n_objective; k++)
        dw_buf_printf(out, "  objective   %g x %s\n", t->objective[k].plan->weight,
                      dw_instance_info(t->objective[k].inst)->plugin.id);
    dw_buf_printf(out, "  step        %u rows, about %zu tokens in %zu micro-batches\n",
                  t->plan->rows, s->tokens, s->micro);
    if (t->eval)
        dw_buf_printf(out, "  eval        %zu rows every %u steps, by %s\n",
                      dw_dataset_len(t->eval), t->plan->eval->every, t->plan->eval->metric);
}

typedef struct memory {
    size_t weights, grads, optim, pass, generation;
} memory;

static void add_model(memory *y, const dw_job *job, const dw_live_model *m)
{
    const dw_params *trained = dw_model_trained(m->m);
    const size_t grads = trained->g ? trained->n * sizeof(dw_real) : 0;
    y->weights += dw_model_bytes(m->m) - grads; /* packed copies too */
    y->grads += grads;
    if (!m->plan->trains)
        return;
    if (m == dw_models_lead(job) && dw_components_ever(job))
        y->grads += dw_components_most(job) * trained->n * sizeof(dw_real);
    y->optim += dw_optim_bytes(&m->plan->optimizer, trained->n);
}

/* What a micro-batch takes in every model that a task runs it through; those stay mapped. */
static size_t pass_bytes(const dw_live_task *t, const shape *s)
{
    dw_engine_need need = s->need, still = s->need;
    const dw_plan_task *p = t->plan;
    const dw_live_model *all = t->job->models;
    size_t n = 0;
    still.save = still.entropy_grad = false;
    if (t->columns & DOWEL_BIT(DOWEL_DIVERGENCE)) {
        need.divergence_pairs = need.head_pairs;
        need.divergence_top_k = t->divergence.top_k;
        const dw_live_model *q = p->teacher >= 0 ? &all[p->teacher] : t->model;
        need.divergence_width = dw_model_description(q->m)->d;
        n += dw_engine_bytes(q->m, &still);
    }
    n += dw_engine_bytes(t->model->m, &need);
    if (t->critic && t->critic != t->model) {
        need.divergence_pairs = 0;
        n += dw_engine_bytes(t->critic->m, &need);
    }
    return n;
}

static void put_memory(const memory *y, dw_buf *out)
{
    double mib = 1024.0 * 1024.0;
    dw_buf_printf(out,
                  "memory        weights %.1f MiB, gradients %.1f, optimiser %.1f, a micro-batch "
                  "%.1f, sampling %.1f\n"
                  "              about %.2f GiB at most (%.2f GiB are free)\n",
                  (double)y->weights / mib, (double)y->grads / mib, (double)y->optim / mib,
                  (double)y->pass / mib, (double)y->generation / mib,
                  (double)(y->weights + y->grads + y->optim + y->pass + y->generation) / mib / 1024,
                  (double)dw_mem_available_kib() / mib);
}

static void put_models(const dw_live *l, dw_buf *out)
{
    for (size_t i = 1; i < l->job.n_models; i++) {
        const dw_live_model *m = &l->job.models[i];
        dw_buf_printf(out, "model %s: %s (%zu parameters, %zu trained)\n", m->plan->name,
                      dw_model_dir(m->m), dw_model_n_params(m->m),
                      m->plan->trains ? dw_model_trained(m->m)->n : (size_t)0);
    }
}

static dw_status describe(dw_live *l, dw_buf *out, dw_err *err)
{
    const dw_plan *p = l->job.plan;
    memory y = {0};
    size_t copy = 0; /* of the start, where full training opens a second one */
    for (size_t i = 0; i < l->job.n_models; i++)
        add_model(&y, &l->job, &l->job.models[i]);
    for (size_t i = 0; i < l->job.n_task; i++) {
        const dw_live_task *t = &l->job.task[i];
        char name[256];
        snprintf(name, sizeof name, "%s data", t->plan->name);
        dw_data_counts_print(dw_dataset_counts(t->data), name, out);
    }
    dw_buf_printf(out, "%s: %" PRIu64 " steps, %s, model %s (%zu parameters, %zu trained)\n",
                  p->name, p->steps, p->optimizer.kind, dw_model_dir(l->job.model),
                  dw_model_n_params(l->job.model),
                  p->model[0].trains ? dw_model_trained(l->job.model)->n : (size_t)0);
    put_models(l, out);
    for (size_t i = 0; i < l->job.n_task; i++) {
        shape s;
        DW_TRY(shape_of(l, &l->job.task[i], &s, err));
        put_task(l, i, &s, out);
        size_t b = pass_bytes(&l->job.task[i], &s);
        y.pass = b > y.pass ? b : y.pass;
        b = generation_bytes(l, &l->job.task[i]);
        y.generation = b > y.generation ? b : y.generation;
        b = dw_reference_bytes(&l->job.task[i]);
        copy = b > copy ? b : copy;
    }
    y.weights += copy;
    put_memory(&y, out);
    if (l->o->out)
        dw_buf_printf(out, "would write   %s; nothing was started\n", l->o->out);
    return DW_OK;
}

dw_status dw_run_dry(dw_plan *p, const dw_callbacks *cb, const dw_run_options *o, dw_buf *out,
                     dw_err *err)
{
    dw_live l;
    dw_status st = dw_live_open(&l, p, cb, o, err);
    if (st >= 0)
        st = describe(&l, out, err);
    dw_live_close(&l);
    return st;
}
