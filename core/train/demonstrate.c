/* Shows a teacher what the student did not see: an answer of the same group that did well. */
#include "train/demonstrate.h"

#include <stdio.h>
#include <string.h>

#include "data/column.h"
#include "train/reward.h"

typedef struct shower {
    dw_set *s;
    const dw_plan_demonstrate *d;
    dw_column_plan column;
    size_t part, feedback; /* 0: the total; 0: none */
    size_t shown, told, taught, too_long;
} shower;

static size_t part_of(const dw_live_task *t, const char *name)
{
    for (size_t i = 0; name && i < t->n_reward; i++)
        if (!strcmp(t->part[i], name))
            return 1 + i;
    return 0;
}

static bool counts(const dw_seq *q)
{
    return q->role == DOWEL_TRAINED || q->role == DOWEL_OTHER;
}

static bool good(const shower *w, size_t i)
{
    return counts(&w->s->seq[i]) && dw_reward_told(w->s, i, w->part) >= w->d->at_least;
}

static const dw_seq *demonstration(const shower *w, size_t i)
{
    const dw_seq *q = w->s->seq;
    for (size_t k = 0; k < w->s->n_seq; k++)
        if (q[k].group == q[i].group && (k != i || w->d->own) && good(w, k))
            return &q[k];
    return NULL;
}

static const char *feedback(const shower *w, const dw_seq *q)
{
    const char *why = w->feedback && q->why ? q->why[w->feedback - 1] : NULL;
    return why ? why : "";
}

/* The row's own object with two more members. */
static dw_status put_row(const dw_seq *q, dw_text shown, const char *told, dw_buf *out, dw_err *err)
{
    const dw_text meta = q->row->meta.len ? q->row->meta : dw_text_of("{}");
    dw_json *row = NULL;
    DW_TRY(dw_json_parse(meta.ptr, meta.len, DW_JSON_DEPTH_ROW, 1, &row, err));
    bool taken = dw_json_get(row, "demonstration") || dw_json_get(row, "feedback");
    bool empty = dw_json_len(row) == 0;
    dw_json_free(row);
    if (taken)
        return dw_fail(err, DW_E_INPUT,
                       "row %u has a field 'demonstration' or 'feedback' of its own, names that "
                       "rollout.demonstrate needs",
                       q->row->line);
    dw_buf_adds(out, "{\"demonstration\":");
    dw_json_put_str(out, shown.ptr, shown.len);
    dw_buf_adds(out, ",\"feedback\":");
    dw_json_put_cstr(out, told);
    dw_buf_adds(out, empty ? "" : ",");
    const char *open = memchr(meta.ptr, '{', meta.len);
    dw_buf_add(out, open + 1, meta.len - (size_t)(open + 1 - meta.ptr));
    return DW_OK;
}

/* The ids of a teacher's prompt, what the tokenizer puts in front of every text included. */
static dw_status encode(const shower *w, const dw_buf *row, dw_ids *out, dw_err *err)
{
    const dw_live_task *t = w->s->task;
    const dw_tokenizer *tok = dw_model_tokenizer(t->model->m);
    dw_arena a = {0};
    dw_json *json = NULL;
    dw_column_text text;
    size_t at, n_before;
    const int32_t *before = dw_tokenizer_before(tok, &n_before);
    dw_status st = dw_json_parse(row->ptr, row->len, DW_JSON_DEPTH_ROW, 1, &json, err);
    if (st >= 0) {
        const dw_callbacks *cb = t->job->cb;
        const dw_column_row r = {.raw = dw_buf_text(row),
                                 .json = json,
                                 .fn = cb ? cb->row : NULL,
                                 .fn_ctx = cb ? cb->ctx : NULL};
        st = dw_column_apply(&a, &w->column, &r, &text, &at, err);
    }
    if (st >= 0)
        st = dw_tokenizer_encode_parts(tok, text.part, text.n, 0, out, err);
    bool led =
        out->n >= n_before && (!n_before || !memcmp(out->id, before, n_before * sizeof *before));
    if (st >= 0 && t->plan->data.spec.add_bos && !led) {
        for (size_t i = 0; i < n_before; i++)
            dw_ids_push(out, 0);
        memmove(out->id + n_before, out->id, (out->n - n_before) * sizeof *out->id);
        memcpy(out->id, before, n_before * sizeof *out->id);
    }
    dw_json_free(json);
    dw_arena_finish(&a);
    return st;
}

static dw_status teach(shower *w, size_t i, dw_err *err)
{
    dw_seq *q = &w->s->seq[i];
    const dw_seq *from = demonstration(w, i);
    const char *told = feedback(w, q);
    dw_text shown = from ? (dw_text){from->completion_text, from->completion_len} : dw_text_of("");
    dw_buf row = {0};
    dw_ids id = {0};
    w->shown += from != NULL;
    w->told += told[0] != 0;
    q->untaught = true;
    if (!from && !told[0])
        return DW_OK;
    dw_status st = put_row(q, shown, told, &row, err);
    if (st >= 0)
        st = encode(w, &row, &id, err);
    size_t room = dw_model_description(w->s->task->model->m)->max_positions;
    bool fits = id.n > 0 && (room == 0 || id.n + w->s->pack[i].n_completion <= room);
    if (st >= 0 && fits) {
        int32_t *keep = dw_arena_alloc(w->s->arena, id.n * sizeof *keep);
        memcpy(keep, id.id, id.n * sizeof *keep);
        q->teacher_prompt = keep;
        q->n_teacher_prompt = (uint32_t)id.n;
        q->untaught = false;
        w->taught++;
    } else if (st >= 0) {
        w->too_long++;
    }
    dw_buf_finish(&row);
    dw_ids_finish(&id);
    return st;
}

static void report(const shower *w, size_t n, size_t groups, size_t good_groups)
{
    const dw_live_task *t = w->s->task;
    const struct {
        const char *name;
        size_t some, of;
    } share[] = {{"success_group_fraction", good_groups, groups},
                 {"success_sample_fraction", w->shown, n},
                 {"feedback_used_fraction", w->told, n},
                 {"reprompt_sample_fraction", w->taught, n},
                 {"too_long_fraction", w->too_long, n}};
    for (size_t i = 0; t->job->sink && i < sizeof share / sizeof *share; i++) {
        char name[256];
        snprintf(name, sizeof name, "%sself_distillation/%s", t->prefix, share[i].name);
        if (share[i].of)
            dw_metrics_set(t->job->sink, name, (double)share[i].some / (double)share[i].of);
    }
}

dw_status dw_demonstrate(dw_set *s, dw_err *err)
{
    const dw_live_task *t = s->task;
    shower w = {.s = s, .d = t->plan->rollout->demonstrate};
    size_t n = 0, groups = 0, good_groups = 0;
    w.part = part_of(t, w.d->part);
    w.feedback = part_of(t, w.d->feedback);
    DW_TRY(dw_column_compile(s->arena, &w.d->prompt, "prompt", &w.column, err));
    for (size_t i = 0; i < s->n_seq; i++) {
        bool some = false;
        if (i == 0 || s->seq[i].group != s->seq[i - 1].group) {
            for (size_t k = i; k < s->n_seq && s->seq[k].group == s->seq[i].group; k++)
                some |= good(&w, k);
            groups++;
            good_groups += some;
        }
        if (!counts(&s->seq[i]))
            continue;
        n++;
        dw_status st = teach(&w, i, err);
        if (st < 0) {
            dw_err_prefix(err, "rollout.demonstrate");
            return st;
        }
    }
    report(&w, n, groups, good_groups);
    return DW_OK;
}
