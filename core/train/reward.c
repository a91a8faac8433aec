/* Calls reward plugins and Lua rewards on sampled answers and mixes what they say. */
#include "train/reward.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "train/reward_model.h"
#include "train/spans.h"

/* ---- samples as rewards see them ---- */

/* Where the text ends that is certain after each token. */
static dw_status ends_in_stream(const dw_tokenizer *tok, const dw_packable *p, const dw_seq *q,
                                uint32_t *end, dw_buf *b, dw_err *err)
{
    dw_tok_stream *s = dw_tok_stream_create(tok, true);
    dw_status st = DW_OK;
    dw_buf_clear(b);
    for (uint32_t t = 0; t < p->n_completion && st >= 0; t++) {
        st = dw_tok_stream_push(s, p->completion[t], b, err);
        if (st >= 0 && t + 1 == p->n_completion)
            st = dw_tok_stream_end(s, b, err);
        end[t] = (uint32_t)(b->len < q->completion_len ? b->len : q->completion_len);
    }
    dw_tok_stream_free(s);
    return st;
}

/* Where each token's text ends. Token by token first; where the pieces do not add up to the decoded
 * text (half characters, a space that the start of a text loses), as the text appears. */
static dw_status token_ends(const dw_tokenizer *tok, const dw_packable *p, const dw_seq *q,
                            uint32_t *end, dw_err *err)
{
    dw_buf b = {0};
    dw_status st = DW_OK;
    size_t at = 0;
    for (uint32_t t = 0; t < p->n_completion && st >= 0; t++) {
        dw_buf_clear(&b);
        if (!dw_tokenizer_is_special(tok, p->completion[t]))
            st = dw_tokenizer_piece(tok, p->completion[t], &b, err);
        at += b.len;
        end[t] = (uint32_t)at;
    }
    if (st >= 0 && at != q->completion_len)
        st = ends_in_stream(tok, p, q, end, &b, err);
    dw_buf_finish(&b);
    return st;
}

static dw_status make_samples(const dw_set *s, dowel_sample *out, dw_err *err)
{
    const dw_tokenizer *tok = dw_model_tokenizer(s->task->model->m);
    for (size_t i = 0; i < s->n_seq; i++) {
        const dw_seq *q = &s->seq[i];
        const dw_packable *p = &s->pack[i];
        uint32_t *end = dw_arena_alloc(s->arena, (p->n_completion + 1) * sizeof *end);
        DW_TRY(token_ends(tok, p, q, end, err));
        /* the contract promises a NUL behind every text */
        const dw_row *r = q->row;
        const char *prompt = dw_arena_strndup(s->arena, r->prompt_text.ptr, r->prompt_text.len);
        const char *meta = dw_arena_strndup(s->arena, r->meta.ptr, r->meta.len);
        out[i] = (dowel_sample){.size = sizeof(dowel_sample),
                                .group = (uint32_t)q->group,
                                .id = q->id,
                                .prompt = {prompt, r->prompt_text.len},
                                .completion = {q->completion_text, q->completion_len},
                                .meta = {meta, r->meta.len},
                                .n_tok = p->n_completion,
                                .stop = q->stop,
                                .tok_end = end};
    }
    return DW_OK;
}

/* ---- scoring ---- */

static dw_status score_plugin(dw_set *s, size_t k, const dowel_sample *x, dw_err *err)
{
    dw_use *u = &s->task->reward[k];
    const dowel_sample **ptr = dw_arena_alloc(s->arena, (s->n_seq + 1) * sizeof *ptr);
    for (size_t i = 0; i < s->n_seq; i++)
        ptr[i] = &x[i];
    dw_score_result r = {0};
    DW_TRY(dw_call_score(u->inst, ptr, (uint32_t)s->n_seq, &r, err));
    for (size_t i = 0; i < s->n_seq; i++) {
        s->seq[i].reward[1 + k] = r.total[i];
        if (r.why[i])
            s->seq[i].why[k] = dw_arena_strdup(s->arena, r.why[i]);
    }
    for (size_t i = 0; i < r.n_span; i++)
        dw_spans_put(s, &x[r.span[i].sample], k, &r.span[i]);
    dw_score_result_finish(&r);
    return DW_OK;
}

static dw_status score_lua(dw_set *s, size_t k, const dowel_sample *x, dw_err *err)
{
    const dw_callbacks *cb = s->task->job->cb;
    const dw_plan_use *u = s->task->reward[k].plan;
    dw_buf why = {0};
    dw_status st = DW_OK;
    for (size_t i = 0; i < s->n_seq && st >= 0; i++) {
        double v = NAN;
        dw_buf_clear(&why);
        st = cb->reward(cb->ctx, u->lua, &x[i], &v, &why, err);
        if (st >= 0 && isinf(v))
            st = dw_fail(err, DW_E_RECIPE,
                         "reward '%s' returned %g for sample %zu; rewards are "
                         "finite numbers or nil",
                         u->name, v, i);
        s->seq[i].reward[1 + k] = v;
        if (why.len > 0)
            s->seq[i].why[k] = dw_arena_strdup(s->arena, why.ptr);
    }
    dw_buf_finish(&why);
    return st;
}

static dw_status score_part(dw_set *s, size_t k, const dowel_sample *x, dw_err *err)
{
    const dw_use *u = &s->task->reward[k];
    if (u->plan->model != DW_NO_MODEL)
        return dw_reward_model_score(s, k, x, err);
    return u->inst ? score_plugin(s, k, x, err) : score_lua(s, k, x, err);
}

static void mix(dw_seq *q, const dw_live_task *t)
{
    double sum = 0;
    bool any = false;
    for (size_t k = 0; k < t->n_reward; k++) {
        if (isnan(q->reward[1 + k]))
            continue;
        sum += t->part_weight[k] * q->reward[1 + k];
        any = true;
    }
    q->reward[0] = any ? sum : NAN;
}

dw_status dw_reward_score(dw_set *s, dw_err *err)
{
    const dw_live_task *t = s->task;
    if (t->n_reward == 0)
        return DW_OK;
    dowel_sample *x = dw_arena_alloc(s->arena, (s->n_seq + 1) * sizeof *x);
    DW_TRY(make_samples(s, x, err));
    for (size_t i = 0; i < s->n_seq; i++) {
        s->seq[i].reward = dw_arena_alloc(s->arena, (1 + t->n_reward) * sizeof(double));
        s->seq[i].why = dw_arena_alloc(s->arena, t->n_reward * sizeof(char *));
    }
    for (size_t k = 0; k < t->n_reward; k++) {
        dw_status st = score_part(s, k, x, err);
        if (st < 0) {
            dw_err_prefix(err, "tasks.%s.rewards.%s", t->plan->name, t->part[k]);
            return st;
        }
    }
    for (size_t i = 0; i < s->n_seq; i++)
        mix(&s->seq[i], t);
    dw_spans_total(s);
    return DW_OK;
}

double dw_reward_told(const dw_set *s, size_t seq, size_t column)
{
    double v = s->seq[seq].reward[column];
    return isnan(v) ? dw_spans_sum(s, seq, column) : v;
}

/* ---- metrics ---- */

typedef struct spread {
    double mean, sd;
    size_t n;
} spread;

/* Over the values that are not NaN; the first is subtracted so that equal rewards have spread 0. */
static spread spread_of(const dw_set *s, size_t from, size_t end, size_t part)
{
    spread r = {0};
    double first = NAN, sum = 0, ss = 0;
    for (size_t i = from; i < end; i++) {
        double v = dw_reward_told(s, i, part);
        if (isnan(v) || s->seq[i].role != DOWEL_TRAINED)
            continue;
        if (r.n++ == 0)
            first = v;
        sum += v - first;
        ss += (v - first) * (v - first);
    }
    if (r.n == 0)
        return (spread){NAN, NAN, 0};
    double n = (double)r.n, m = sum / n;
    r.mean = first + m;
    r.sd = r.n > 1 ? sqrt(fmax(0, ss - n * m * m) / (n - 1)) : 0;
    return r;
}

static void add(dw_metrics *to, const char *prefix, const char *name, double v, double weight)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    if (!isnan(v))
        dw_metrics_add(to, full, DOWEL_MEAN, v, weight);
}

static void add_groups(const dw_set *s, const char *prefix, dw_metrics *to)
{
    for (size_t i = 0; i < s->n_seq;) {
        size_t end = i + 1;
        while (end < s->n_seq && s->seq[end].group == s->seq[i].group)
            end++;
        spread g = spread_of(s, i, end, 0);
        if (g.n > 0) {
            add(to, prefix, "reward", g.mean, (double)g.n);
            add(to, prefix, "frac_reward_zero_std", g.sd <= 1e-8 * fmax(1, fabs(g.mean)), 1);
        }
        i = end;
    }
}

void dw_reward_metrics(const dw_set *s, const char *prefix, dw_metrics *to)
{
    const dw_live_task *t = s->task;
    if (t->n_reward == 0)
        return;
    spread all = spread_of(s, 0, s->n_seq, 0);
    char told[512];
    snprintf(told, sizeof told, "%sreward", prefix);
    if (!dw_metrics_find(to, told)) { /* estimators with group statistics say it themselves */
        add_groups(s, prefix, to);
        add(to, prefix, "reward_std", all.sd, 1);
    }
    double own = 0;
    for (size_t i = 0; i < s->n_seq; i++)
        own += s->seq[i].role == DOWEL_TRAINED;
    add(to, prefix, "frac_unscored", 1 - (double)all.n / own, own);
    for (size_t k = 0; k < t->n_reward; k++) {
        char name[256];
        spread r = spread_of(s, 0, s->n_seq, 1 + k);
        snprintf(name, sizeof name, "rewards/%s/mean", t->part[k]);
        for (size_t i = 0; i < s->n_seq; i++) /* by sequence, so that intervals can be had */
            if (s->seq[i].role == DOWEL_TRAINED)
                add(to, prefix, name, dw_reward_told(s, i, 1 + k), 1);
        snprintf(name, sizeof name, "rewards/%s/std", t->part[k]);
        add(to, prefix, name, r.sd, 1);
    }
}

/* ---- samples.jsonl ---- */

static const char *role_name(uint8_t role)
{
    return role == DOWEL_GREEDY ? "greedy" : role == DOWEL_OTHER ? "other" : "trained";
}

static void put_parts(const dw_set *s, size_t i, dw_buf *out)
{
    const dw_seq *q = &s->seq[i];
    const dw_live_task *t = s->task;
    dw_buf_adds(out, ",\"rewards\":{");
    for (size_t k = 0; k < t->n_reward; k++) {
        dw_buf_adds(out, k ? "," : "");
        dw_json_put_cstr(out, t->part[k]);
        dw_buf_addc(out, ':');
        dw_json_put_num(out, dw_reward_told(s, i, 1 + k));
    }
    dw_buf_adds(out, "},\"why\":{");
    bool first = true;
    for (size_t k = 0; k < t->n_reward; k++) {
        if (!q->why[k])
            continue;
        dw_buf_adds(out, first ? "" : ",");
        first = false;
        dw_json_put_cstr(out, t->part[k]);
        dw_buf_addc(out, ':');
        dw_json_put_cstr(out, q->why[k]);
    }
    dw_buf_addc(out, '}');
}

void dw_reward_log(const dw_set *s, uint64_t step, bool dropped, dw_buf *out)
{
    for (size_t i = 0; i < s->n_seq; i++) {
        const dw_seq *q = &s->seq[i];
        const dw_row *r = q->row;
        if (dropped && q->keep)
            continue;
        dw_buf_printf(out, "{\"step\":%llu,\"task\":", (unsigned long long)step);
        dw_json_put_cstr(out, s->task->plan->name);
        dw_buf_printf(out, ",\"group\":%d,\"role\":\"%s\",\"prompt\":", q->group,
                      role_name(q->role));
        dw_json_put_str(out, r->prompt_text.ptr, r->prompt_text.len);
        dw_buf_adds(out, ",\"completion\":");
        dw_json_put_str(out, q->completion_text, q->completion_len);
        dw_buf_printf(out, ",\"tokens\":%u,\"finish\":\"%s\"", s->pack[i].n_completion,
                      q->stop == DOWEL_STOP_LENGTH ? "length" : "stop");
        if (q->reward) {
            dw_buf_adds(out, ",\"reward\":");
            dw_json_put_num(out, dw_reward_told(s, i, 0));
            put_parts(s, i, out);
        }
        if (!q->keep)
            dw_buf_adds(out, ",\"trained\":false");
        if (s->advantage) {
            dw_buf_adds(out, ",\"advantage\":");
            dw_json_put_num(out, s->advantage[q->tok]);
        }
        dw_buf_adds(out, "}\n");
    }
}
