/* Makes the step's list of sequences out of rows of data. */
#include "train/set.h"

#include <math.h>
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
    const unsigned char *mask = q->mask;
    if (n_prompt == 0) {
        if (n_completion < 2)
            return false;
        mask += mask != NULL;
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
                                      .unit = (uint32_t)s->n_seq,
                                      .with_last = s->task->marks};
    dw_seq *to = &s->seq[s->n_seq++];
    *to = *q;
    to->mask = mask;
    to->tok = (uint32_t)s->n_tok;
    to->keep = true;
    s->n_loss = s->n_seq;
    s->n_tok += n_completion;
    if (n_completion > s->max_tok)
        s->max_tok = (uint32_t)n_completion;
    return true;
}

/* What one row of data holds, the halves of a pair, and the members of a group that somebody wants
 * whole are one unit. */
static void number_units(dw_set *s)
{
    bool groups = s->task->by_group;
    for (size_t i = 0; i < s->n_seq; i++) {
        const dw_seq *q = &s->seq[i];
        s->pack[i].unit = (uint32_t)i;
        if (i > 0 && (q->joined || (groups && q->group == s->seq[i - 1].group)))
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
        if (s->seq[i].role != DOWEL_TRAINED && s->seq[i].role != DOWEL_OTHER)
            continue;
        for (uint32_t t = 0; t < s->pack[i].n_completion; t++)
            n += s->mask[s->seq[i].tok + t] != 0;
        s->step_seqs += n > 0;
        s->step_toks += n;
    }
}

/* Of steps the last token of each separator, else the last token of every sequence. */
static void put_marks(dw_set *s)
{
    s->mark = dw_arena_alloc(s->arena, s->n_tok + 1);
    bool steps = s->n_seq > 0 && s->seq[0].row && s->seq[0].row->n_step > 0;
    if (steps)
        s->mark_label = dw_arena_alloc(s->arena, (s->n_tok + 1) * sizeof(double));
    for (size_t t = 0; steps && t < s->n_tok; t++)
        s->mark_label[t] = NAN;
    for (size_t i = 0; i < s->n_seq; i++) {
        const dw_seq *q = &s->seq[i];
        if (!steps)
            s->mark[q->tok + s->pack[i].n_completion - 1] = 1;
        if (q->role == DOWEL_MISMATCHED)
            continue; /* the steps are another row's */
        for (uint32_t k = 0; steps && k < q->row->n_step; k++) {
            s->mark[q->tok + q->row->step_end[k]] = 1;
            s->mark_label[q->tok + q->row->step_end[k]] = q->row->step_label[k];
        }
    }
}

void dw_set_seal(dw_set *s)
{
    s->mask = dw_arena_alloc(s->arena, s->n_tok + 1);
    memset(s->mask, 1, s->n_tok);
    for (size_t i = 0; i < s->n_seq; i++)
        if (s->seq[i].mask)
            memcpy(s->mask + s->seq[i].tok, s->seq[i].mask, s->pack[i].n_completion);
    if (s->task->marks)
        put_marks(s);
    s->input_tokens = dw_pack_rows(s->pack, s->n_seq);
    if (!s->task->marks) /* the last tokens are not inputs, but they were read */
        s->input_tokens += s->n_seq;
    count(s);
}

void dw_set_columns(dw_set *s, dw_token_column out[DW_N_TOKEN_COLUMN])
{
    const size_t values = s->task->value_width, rewards = 1 + s->task->n_reward;
    const dw_token_column all[DW_N_TOKEN_COLUMN] = {
        {"old_logp", &s->old_logp, 1},        {"logp", &s->sampler_logp, 1},
        {"ref_logp", &s->ref_logp, 1},        {"teacher_logp", &s->teacher_logp, 1},
        {"old_value", &s->old_value, values}, {"token_reward", &s->token_reward, rewards},
        {"advantage", &s->advantage, 1},      {"return", &s->ret, values},
        {"mark_label", &s->mark_label, 1}};
    memcpy(out, all, sizeof all);
}

static void move_tokens(dw_set *s, const dw_seq *from, uint32_t to, uint32_t n)
{
    dw_token_column c[DW_N_TOKEN_COLUMN];
    dw_set_columns(s, c);
    memmove(s->mask + to, s->mask + from->tok, n);
    if (s->mark)
        memmove(s->mark + to, s->mark + from->tok, n);
    for (size_t k = 0; k < DW_N_TOKEN_COLUMN; k++) {
        size_t w = c[k].width;
        if (*c[k].x)
            memmove(*c[k].x + to * w, *c[k].x + from->tok * w, n * w * sizeof(double));
    }
}

void dw_set_compact(dw_set *s)
{
    int32_t *now = dw_arena_alloc(s->arena, (s->n_seq + 1) * sizeof *now);
    size_t n = 0, n_loss = 0;
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
        n_loss += i < s->n_loss;
    }
    s->n_seq = n;
    s->n_loss = n_loss;
    s->n_tok = tok;
    for (size_t i = 0; i < n; i++)
        if (s->seq[i].mate >= 0)
            s->seq[i].mate = now[s->seq[i].mate];
    count(s);
}

/* What the teacher of a sequence reads; 0: the prompt. */
static size_t teacher_prompt(const dw_seq *q, const int32_t **id)
{
    const dw_row *r = q->row;
    *id = q->teacher_prompt;
    if (q->teacher_prompt)
        return q->n_teacher_prompt;
    if (!r || !r->teacher_prompt || r->n_prompt == 0)
        return 0;
    *id = r->teacher_prompt;
    return r->n_teacher_prompt;
}

const dw_packable *dw_set_teacher_packs(const dw_set *s)
{
    dw_packable *own = NULL;
    for (size_t i = 0; i < s->n_seq; i++) {
        const int32_t *id;
        size_t n = teacher_prompt(&s->seq[i], &id);
        if (n == 0)
            continue;
        if (!own) {
            own = dw_arena_alloc(s->arena, (s->n_seq + 1) * sizeof *own);
            memcpy(own, s->pack, s->n_seq * sizeof *own);
        }
        own[i].prompt = id;
        own[i].n_prompt = (uint32_t)n;
    }
    return own ? own : s->pack;
}

void dw_set_untaught(const dw_set *s, size_t first, size_t n, double *x)
{
    for (size_t i = first; i < first + n; i++)
        for (uint32_t t = 0; s->seq[i].untaught && t < s->pack[i].n_completion; t++)
            x[s->seq[i].tok - s->seq[first].tok + t] = NAN;
}

/* Sequence i of `out` is `p`: its tokens in every column. */
static void copy_tokens(dw_set *out, size_t i, const dw_pick *p)
{
    dw_token_column to[DW_N_TOKEN_COLUMN], from[DW_N_TOKEN_COLUMN];
    size_t at = out->seq[i].tok, was = p->set->seq[p->seq].tok, n = out->pack[i].n_completion;
    dw_set_columns(out, to);
    dw_set_columns(p->set, from);
    memcpy(out->mask + at, p->set->mask + was, n);
    if (p->set->mark)
        memcpy(out->mark + at, p->set->mark + was, n);
    for (size_t k = 0; k < DW_N_TOKEN_COLUMN; k++) {
        size_t w = to[k].width;
        if (!*from[k].x)
            continue;
        if (!*to[k].x)
            *to[k].x = dw_arena_alloc(out->arena, (out->n_tok * w + 1) * sizeof(double));
        memcpy(*to[k].x + at * w, *from[k].x + was * w, n * w * sizeof(double));
    }
}

/* Groups are numbered anew: several sets may have used the same numbers. */
static void renumber(dw_set *out, const dw_pick *pick)
{
    int32_t next = 0;
    for (size_t i = 0; i < out->n_seq; i++) {
        const dw_seq *was = &pick[i].set->seq[pick[i].seq];
        out->seq[i].group = -1;
        out->seq[i].mate = -1;
        for (size_t k = 0; k < i; k++) {
            const dw_seq *other = &pick[k].set->seq[pick[k].seq];
            if (pick[k].set != pick[i].set)
                continue;
            if (other->group == was->group)
                out->seq[i].group = out->seq[k].group;
            if (was->mate >= 0 && (size_t)was->mate == pick[k].seq) {
                out->seq[i].mate = (int32_t)k;
                out->seq[k].mate = (int32_t)i;
            }
        }
        if (out->seq[i].group < 0)
            out->seq[i].group = next++;
    }
}

void dw_set_pick(dw_set *out, dw_arena *a, const dw_pick *pick, size_t n)
{
    const dw_set *first = pick[0].set;
    dw_set_init(out, first->task, a, n, first->step);
    out->temperature = first->temperature;
    out->given = first->given;
    for (size_t i = 0; i < n; i++) {
        const dw_packable *p = &pick[i].set->pack[pick[i].seq];
        dw_set_add(out, &pick[i].set->seq[pick[i].seq], p->prompt, p->n_prompt, p->completion,
                   p->n_completion);
    }
    dw_set_seal(out);
    for (size_t i = 0; i < n; i++) {
        if (pick[i].set->max_tok > out->max_tok)
            out->max_tok = pick[i].set->max_tok;
        copy_tokens(out, i, &pick[i]);
    }
    renumber(out, pick);
    count(out);
}

const dw_row *dw_set_row(const dw_live_task *t, uint64_t n)
{
    return dw_dataset_at(t->data, t->seed, t->plan->data.shuffle, n);
}

/* A number for the h-th sequence of a row, the same in every cut. */
static uint64_t id_of(uint64_t row, uint64_t h)
{
    return (h >> 1) << 48 | (2 * row + (h & 1));
}

static dw_seq seq_of(const dw_row *r, uint64_t id, uint32_t place)
{
    return (dw_seq){.row = r,
                    .id = id,
                    .weight = r->weight,
                    .label = r->label,
                    .target = r->target,
                    .margin = r->margin,
                    .rank = NAN,
                    .mate = -1,
                    .group = (int32_t)place,
                    .place = place};
}

static const unsigned char *mask_of(const dw_row *r, const dw_answer *x)
{
    return r->mask ? r->mask + (x->id - r->answer[0].id) : NULL;
}

/* All answers of a row, side by side; nothing where one of them leaves nothing to predict. */
static void add_row(dw_set *s, const dw_row *r, dw_data_type type, uint64_t id, uint32_t place)
{
    size_t at = s->n_seq, tok = s->n_tok;
    for (uint32_t h = 0; h < r->n_answer; h++) {
        const dw_answer *x = &r->answer[h];
        dw_seq q = seq_of(r, id_of(id, h), place);
        q.rank = x->rank;
        q.mask = mask_of(r, x);
        q.joined = h > 0;
        if (type == DW_PAIRS && h < 2) {
            q.mate = (int32_t)(at + 1 - h);
            q.label = h == 0 ? 1 : -1;
        }
        if (type == DW_PAIRS && h == 2)
            q.role = DOWEL_GOLD;
        if (type == DW_LISTS)
            q.label = 0;
        if (!dw_set_add(s, &q, r->prompt, r->n_prompt, x->id, x->n)) {
            s->n_seq = s->n_loss = at;
            s->n_tok = tok;
            return;
        }
    }
}

/* The rows of a step or an evaluation. */
typedef struct rows {
    const dw_row **row;
    uint64_t *id;
    size_t n;
    const dw_dataset *data;
} rows;

/* Each prompt with the answer of the next row that is another one; behind everything else, because
 * no loss sees them. A single row has no other. */
static void add_mismatched(dw_set *s, const rows *r)
{
    size_t n_loss = s->n_loss;
    for (size_t i = 0; i < r->n; i++) {
        size_t k = 1;
        while (k < r->n && r->row[(i + k) % r->n] == r->row[i])
            k++;
        const dw_row *own = r->row[i], *other = r->row[(i + k) % r->n];
        if (k >= r->n || !own->n_prompt)
            continue;
        dw_seq q = seq_of(own, id_of(r->id[i], own->n_answer), (uint32_t)i);
        q.label = 0;
        q.role = DOWEL_MISMATCHED;
        q.mask = mask_of(other, &other->answer[0]);
        dw_set_add(s, &q, own->prompt, own->n_prompt, other->answer[0].id, other->answer[0].n);
    }
    s->n_loss = n_loss;
}

static uint64_t given(const dw_dataset *d, dw_data_type type)
{
    const dw_data_counts *c = dw_dataset_counts(d);
    return (c->targets ? DOWEL_BIT(DOWEL_TARGET) : 0) | (c->margins ? DOWEL_BIT(DOWEL_MARGIN) : 0) |
           (type == DW_LISTS ? DOWEL_BIT(DOWEL_RANK) : 0);
}

static dw_status check_tokens(const dw_set *s, const rows *r, dw_err *err)
{
    const dw_row *first = r->row[0], *last = r->row[r->n - 1];
    if (s->step_toks > 0)
        return DW_OK;
    return dw_fail(err, DW_E_INPUT,
                   "tasks.%s: no token to train on in rows %s:%u to %s:%u (completions are empty "
                   "or a single token without a prompt)",
                   s->task->plan->name, dw_dataset_file(r->data, first->file), first->line,
                   dw_dataset_file(r->data, last->file), last->line);
}

static dw_status set_from(dw_set *s, dw_live_task *t, dw_arena *a, const rows *r, uint64_t step,
                          dw_err *err)
{
    dw_data_type type = t->plan->data.spec.type;
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++)
        n += r->row[i]->n_answer + 1;
    dw_set_init(s, t, a, n, step);
    s->given = given(r->data, type);
    for (size_t i = 0; i < r->n; i++)
        add_row(s, r->row[i], type, r->id[i], (uint32_t)i);
    if (t->mismatched)
        add_mismatched(s, r);
    dw_set_seal(s);
    return check_tokens(s, r, err);
}

static rows rows_make(dw_arena *a, const dw_dataset *d, size_t n)
{
    return (rows){.row = dw_arena_alloc(a, (n + 1) * sizeof(dw_row *)),
                  .id = dw_arena_alloc(a, (n + 1) * sizeof(uint64_t)),
                  .n = n,
                  .data = d};
}

dw_status dw_set_from_rows(dw_set *s, dw_live_task *t, dw_arena *a, uint64_t first, size_t n,
                           uint64_t step, dw_err *err)
{
    rows r = rows_make(a, t->data, n);
    for (size_t i = 0; i < n; i++) {
        r.row[i] = dw_set_row(t, first + i);
        r.id[i] = first + i;
    }
    return set_from(s, t, a, &r, step, err);
}

dw_status dw_set_from_eval(dw_set *s, dw_live_task *t, dw_arena *a, dw_err *err)
{
    rows r = rows_make(a, t->eval, dw_dataset_len(t->eval));
    for (size_t i = 0; i < r.n; i++) {
        r.row[i] = dw_dataset_row(t->eval, i);
        r.id[i] = (UINT64_C(1) << 40) + i; /* apart from every row of the training order */
    }
    return set_from(s, t, a, &r, 0, err);
}
