/* Makes the step's list of sequences out of rows of data. */
#include "train/set.h"

#include <string.h>

void dw_set_init(dw_set *s, dw_live_task *t, dw_arena *a, size_t n, uint64_t step)
{
    *s = (dw_set){.task = t, .arena = a, .temperature = 1, .step = step};
    s->seq = dw_arena_alloc(a, (n + 1) * sizeof *s->seq);
    s->pack = dw_arena_alloc(a, (n + 1) * sizeof *s->pack);
}

bool dw_set_add(dw_set *s, const dw_seq *q, const int32_t *prompt, size_t n_prompt,
                const int32_t *completion, size_t n_completion)
{
    if (n_prompt == 0) {
        if (n_completion < 2)
            return false;
        prompt = completion++;
        n_prompt = 1;
        n_completion--;
    }
    if (n_completion == 0)
        return false;
    s->pack[s->n_seq] = (dw_packable){.prompt = prompt,
                                      .n_prompt = (uint32_t)n_prompt,
                                      .completion = completion,
                                      .n_completion = (uint32_t)n_completion,
                                      .unit = (uint32_t)s->n_seq};
    dw_seq *to = &s->seq[s->n_seq++];
    *to = *q;
    to->tok = (uint32_t)s->n_tok;
    to->keep = true;
    s->n_tok += n_completion;
    if (n_completion > s->max_tok)
        s->max_tok = (uint32_t)n_completion;
    return true;
}

/* The halves of a pair, and the members of a group that somebody wants whole, are one unit. */
static void number_units(dw_set *s)
{
    bool groups = s->task->by_group;
    for (size_t i = 0; i < s->n_seq; i++) {
        const dw_seq *q = &s->seq[i];
        s->pack[i].unit = (uint32_t)i;
        if (groups && i > 0 && q->group == s->seq[i - 1].group)
            s->pack[i].unit = s->pack[i - 1].unit;
        else if (q->mate >= 0 && (size_t)q->mate < i)
            for (size_t k = (size_t)q->mate; k <= i; k++) /* whatever lies between comes along */
                s->pack[k].unit = s->pack[(size_t)q->mate].unit;
    }
}

static void count(dw_set *s)
{
    number_units(s);
    s->step_seqs = s->step_toks = 0;
    for (size_t i = 0; i < s->n_seq; i++) {
        uint32_t n = 0;
        for (uint32_t t = 0; t < s->pack[i].n_completion; t++)
            n += s->mask[s->seq[i].tok + t] != 0;
        s->step_seqs += n > 0;
        s->step_toks += n;
    }
}

void dw_set_seal(dw_set *s)
{
    s->mask = dw_arena_alloc(s->arena, s->n_tok + 1);
    memset(s->mask, 1, s->n_tok);
    s->input_tokens = dw_pack_rows(s->pack, s->n_seq) + s->n_seq;
    count(s);
}

static void move_tokens(dw_set *s, const dw_seq *from, uint32_t to, uint32_t n)
{
    memmove(s->mask + to, s->mask + from->tok, n);
    double *column[] = {s->ref_logp, s->old_logp, s->sampler_logp, s->advantage, s->token_reward};
    for (size_t c = 0; c < sizeof column / sizeof *column; c++)
        if (column[c])
            memmove(column[c] + to, column[c] + from->tok, n * sizeof(double));
}

void dw_set_compact(dw_set *s)
{
    int32_t *now = dw_arena_alloc(s->arena, (s->n_seq + 1) * sizeof *now);
    size_t n = 0;
    uint32_t tok = 0;
    for (size_t i = 0; i < s->n_seq; i++) {
        now[i] = -1;
        if (!s->seq[i].keep)
            continue;
        uint32_t len = s->pack[i].n_completion;
        move_tokens(s, &s->seq[i], tok, len);
        now[i] = (int32_t)n;
        s->pack[n] = s->pack[i];
        s->seq[n] = s->seq[i];
        s->seq[n].tok = tok;
        tok += len;
        n++;
    }
    s->n_seq = n;
    s->n_tok = tok;
    for (size_t i = 0; i < n; i++)
        if (s->seq[i].mate >= 0)
            s->seq[i].mate = now[s->seq[i].mate];
    count(s);
}

const dw_row *dw_set_row(const dw_live_task *t, uint64_t n)
{
    size_t len = dw_dataset_len(t->data);
    size_t i = t->plan->data.shuffle ? dw_shuffle_at(t->seed, len, n) : (size_t)(n % len);
    return dw_dataset_row(t->data, i);
}

static void add_row(dw_set *s, const dw_row *r, dw_data_type type, uint64_t id, uint32_t place)
{
    dw_seq q = {.row = r,
                .id = 2 * id,
                .weight = 1,
                .label = 1,
                .mate = -1,
                .group = (int32_t)place,
                .place = place};
    size_t at = s->n_seq;
    if (type == DW_PAIRS)
        q.mate = (int32_t)at + 1;
    bool added = dw_set_add(s, &q, r->prompt, r->n_prompt, r->completion[0], r->n_completion[0]);
    if (type != DW_PAIRS || !added)
        return;
    q.id = 2 * id + 1;
    q.label = -1;
    q.mate = (int32_t)at;
    if (!dw_set_add(s, &q, r->prompt, r->n_prompt, r->completion[1], r->n_completion[1])) {
        s->n_seq--; /* half a pair is nothing */
        s->n_tok -= s->pack[s->n_seq].n_completion;
    }
}

static dw_status check_tokens(const dw_set *s, const dw_dataset *d, const dw_row *first,
                              const dw_row *last, dw_err *err)
{
    if (s->step_toks > 0)
        return DW_OK;
    return dw_fail(err, DW_E_INPUT,
                   "tasks.%s: no token to train on in rows %s:%u to %s:%u (completions are empty "
                   "or a single token without a prompt)",
                   s->task->plan->name, dw_dataset_file(d, first->file), first->line,
                   dw_dataset_file(d, last->file), last->line);
}

dw_status dw_set_from_rows(dw_set *s, dw_live_task *t, dw_arena *a, uint64_t first, size_t n,
                           uint64_t step, dw_err *err)
{
    dw_set_init(s, t, a, 2 * n, step);
    for (size_t i = 0; i < n; i++)
        add_row(s, dw_set_row(t, first + i), t->plan->data.spec.type, first + i, (uint32_t)i);
    dw_set_seal(s);
    return check_tokens(s, t->data, dw_set_row(t, first), dw_set_row(t, first + n - 1), err);
}

dw_status dw_set_from_eval(dw_set *s, dw_live_task *t, dw_arena *a, dw_err *err)
{
    size_t n = dw_dataset_len(t->eval);
    dw_set_init(s, t, a, 2 * n, 0);
    for (size_t i = 0; i < n; i++)
        add_row(s, dw_dataset_row(t->eval, i), t->plan->eval->data.spec.type,
                (UINT64_C(1) << 40) + i, (uint32_t)i);
    dw_set_seal(s);
    return check_tokens(s, t->eval, dw_dataset_row(t->eval, 0), dw_dataset_row(t->eval, n - 1),
                        err);
}
