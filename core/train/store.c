/* Writes rollouts as JSON lines and reads them back, number for number. */
#include "train/store.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"

static const char *const roles[] = {"trained", "mismatched", "greedy", "gold", "other", NULL};
static const char *const stops[] = {"given", "eos", "length", "string", NULL};

/* ---- writing ---- */

static void put_ids(dw_buf *b, const char *key, const int32_t *id, size_t n)
{
    dw_buf_printf(b, ",\"%s\":[", key);
    for (size_t i = 0; i < n; i++)
        dw_buf_printf(b, i ? ",%" PRId32 : "%" PRId32, id[i]);
    dw_buf_addc(b, ']');
}

static void put_numbers(dw_buf *b, const char *key, const double *x, size_t n)
{
    dw_buf_printf(b, ",\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        dw_buf_adds(b, i ? "," : "");
        dw_json_put_num(b, x[i]);
    }
    dw_buf_addc(b, ']');
}

static void put_number(dw_buf *b, const char *key, double x)
{
    dw_buf_printf(b, ",\"%s\":", key);
    dw_json_put_num(b, x);
}

static void put_text(dw_buf *b, const char *key, const char *s, size_t n)
{
    dw_buf_printf(b, ",\"%s\":", key);
    dw_json_put_str(b, s, n);
}

static void put_sequence(dw_set *s, size_t i, uint64_t step, dw_buf *b)
{
    const dw_seq *q = &s->seq[i];
    const dw_packable *p = &s->pack[i];
    dw_token_column c[DW_N_TOKEN_COLUMN];
    dw_set_columns(s, c);
    dw_buf_adds(b, "{\"task\":");
    dw_json_put_cstr(b, s->task->plan->name);
    dw_buf_printf(b, ",\"step\":%" PRIu64 ",\"group\":%" PRId32 ",\"role\":\"%s\",\"stop\":\"%s\"",
                  step, q->group, roles[q->role], stops[q->stop]);
    dw_buf_printf(b, ",\"id\":\"%" PRIu64 "\",\"mate\":%" PRId32 ",\"place\":%" PRIu32, q->id,
                  q->mate, q->place);
    put_number(b, "temperature", s->temperature);
    put_number(b, "max_tokens", s->max_tok);
    put_ids(b, "prompt_ids", p->prompt, p->n_prompt);
    put_ids(b, "ids", p->completion, p->n_completion);
    if (q->teacher_prompt)
        put_ids(b, "teacher_prompt_ids", q->teacher_prompt, q->n_teacher_prompt);
    if (q->untaught)
        dw_buf_adds(b, ",\"untaught\":true");
    if (q->reward)
        put_numbers(b, "reward", q->reward, 1 + s->task->n_reward);
    put_number(b, "weight", q->weight);
    put_number(b, "label", q->label);
    for (size_t k = 0; k < DW_N_TOKEN_COLUMN; k++)
        if (*c[k].x)
            put_numbers(b, c[k].name, *c[k].x + q->tok * c[k].width, p->n_completion * c[k].width);
    if (q->row) {
        dw_buf_printf(b, ",\"file\":%" PRIu32 ",\"line\":%" PRIu32, q->row->file, q->row->line);
        put_text(b, "prompt", q->row->prompt_text.ptr, q->row->prompt_text.len);
        dw_buf_adds(b, ",\"row\":");
        dw_buf_add(b, q->row->meta.len ? q->row->meta.ptr : "{}",
                   q->row->meta.len ? q->row->meta.len : 2);
    }
    if (q->completion_text)
        put_text(b, "completion", q->completion_text, q->completion_len);
    dw_buf_adds(b, "}\n");
}

void dw_store_put(dw_set *s, uint64_t step, dw_buf *out)
{
    for (size_t i = 0; i < s->n_seq; i++)
        put_sequence(s, i, step, out);
}

/* ---- opening: where each line is, and which rollout it belongs to ---- */

typedef struct line {
    const char *file;
    uint32_t number;
    dw_text text;
    dw_text task; /* "": any */
    int64_t step;
} line;

struct dw_store {
    dw_arena arena;
    dw_buf *text;
    size_t n_text;
    line *item;
    size_t n, cap;
};

static dw_status at(const line *l, dw_status st, dw_err *err)
{
    dw_err_prefix(err, "%s:%u", l->file, l->number);
    return st < 0 && st != DW_E_LIMIT ? DW_E_INPUT : st;
}

static dw_status parse_line(const line *l, dw_json **out, dw_err *err)
{
    dw_status st = dw_json_parse(l->text.ptr, l->text.len, DW_JSON_DEPTH_ROW, 1, out, err);
    if (st >= 0 && dw_json_kind(*out) != DW_JSON_OBJECT) {
        st = dw_fail(err, DW_E_INPUT, "expected an object, got %s", dw_json_kind_name(*out));
        dw_json_free(*out);
    }
    return st < 0 ? at(l, st, err) : DW_OK;
}

static dw_status add_line(dw_store *s, line l, dw_err *err)
{
    dw_json *v = NULL;
    const char *task = "";
    DW_TRY(parse_line(&l, &v, err));
    dw_status st = dw_json_get_cstr(v, "task", "", &task, err);
    if (st >= 0)
        st = dw_json_get_int(v, "step", 0, 0, INT64_C(1) << 53, &l.step, err);
    l.task = dw_text_of(dw_arena_strdup(&s->arena, task));
    dw_json_free(v);
    if (st < 0)
        return at(&l, st, err);
    DW_GROW(s->item, s->n, s->cap);
    s->item[s->n++] = l;
    return DW_OK;
}

static dw_status add_file(dw_store *s, const char *path, dw_err *err)
{
    dw_buf *b = &s->text[s->n_text++];
    uint32_t number = 0;
    DW_TRY(dw_file_read(path, SIZE_MAX / 2, b, err));
    for (size_t from = 0; from < b->len;) {
        const char *end = memchr(b->ptr + from, '\n', b->len - from);
        size_t to = end ? (size_t)(end - b->ptr) : b->len;
        number++;
        if (to > from)
            DW_TRY(add_line(
                s, (line){.file = path, .number = number, .text = {b->ptr + from, to - from}},
                err));
        from = to + 1;
    }
    return DW_OK;
}

static dw_status read_all(dw_store *s, const char *path, dw_err *err)
{
    char **name = NULL;
    size_t n = 1;
    bool folder = dw_dir_exists(path);
    if (folder)
        DW_TRY(dw_dir_list(&s->arena, path, &name, &n, err));
    s->text = dw_zalloc(n + 1, sizeof *s->text);
    for (size_t i = 0; i < n; i++) {
        size_t len = folder ? strlen(name[i]) : 0;
        if (folder && (len < 6 || strcmp(name[i] + len - 6, ".jsonl") != 0))
            continue;
        DW_TRY(add_file(
            s, folder ? dw_path_join(&s->arena, path, name[i]) : dw_arena_strdup(&s->arena, path),
            err));
    }
    return s->n ? DW_OK : dw_fail(err, DW_E_INPUT, "%s holds no recorded rollout", path);
}

dw_status dw_store_open(const char *path, dw_store **out, dw_err *err)
{
    dw_store *s = dw_zalloc(1, sizeof *s);
    dw_status st = read_all(s, path, err);
    *out = s;
    if (st < 0) {
        dw_store_close(s);
        *out = NULL;
    }
    return st;
}

void dw_store_close(dw_store *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_text; i++)
        dw_buf_finish(&s->text[i]);
    dw_free(s->text);
    dw_free(s->item);
    dw_arena_finish(&s->arena);
    dw_free(s);
}

/* ---- reading a sequence ---- */

static dw_status read_ids(dw_arena *a, const dw_json *v, const char *key, uint32_t vocab,
                          int32_t **out, size_t *n, dw_err *err)
{
    const dw_json *list = dw_json_get(v, key);
    if (dw_json_kind(list) != DW_JSON_ARRAY || dw_json_len(list) == 0)
        return dw_fail(err, DW_E_INPUT, "'%s': expected a list of at least one token id, got %s",
                       key, list ? dw_json_kind_name(list) : "nothing");
    *n = dw_json_len(list);
    *out = dw_arena_alloc(a, (*n + 1) * sizeof **out);
    size_t i = 0;
    for (const dw_json *x = dw_json_first(list); x; x = dw_json_next(x)) {
        int64_t id = -1;
        if (dw_json_kind(x) != DW_JSON_NUMBER || !dw_json_int(x, &id) || id < 0 || id >= vocab)
            return dw_fail(err, DW_E_INPUT, "'%s': entry %zu is no token id below %u", key, i,
                           vocab);
        (*out)[i++] = (int32_t)id;
    }
    return DW_OK;
}

/* n numbers or null, into out. */
static dw_status read_numbers(const dw_json *list, const char *key, size_t n, double *out,
                              dw_err *err)
{
    size_t i = 0;
    if (dw_json_kind(list) != DW_JSON_ARRAY || dw_json_len(list) != n)
        return dw_fail(err, DW_E_INPUT, "'%s': expected a list of %zu numbers, got %s of %zu", key,
                       n, dw_json_kind_name(list), dw_json_len(list));
    for (const dw_json *x = dw_json_first(list); x; x = dw_json_next(x), i++) {
        if (dw_json_kind(x) != DW_JSON_NUMBER && dw_json_kind(x) != DW_JSON_NULL)
            return dw_fail(err, DW_E_INPUT, "'%s': entry %zu is %s, expected a number or null", key,
                           i, dw_json_kind_name(x));
        out[i] = dw_json_kind(x) == DW_JSON_NUMBER ? dw_json_num(x) : NAN;
    }
    return DW_OK;
}

static dw_status read_reward(const dw_live_task *t, const dw_json *v, dw_arena *a, double **out,
                             dw_err *err)
{
    const dw_json *r = dw_json_get(v, "reward");
    size_t n = 1 + t->n_reward;
    *out = NULL;
    if (!r)
        return DW_OK;
    *out = dw_arena_alloc(a, (n + 1) * sizeof **out);
    for (size_t i = 0; i < n; i++)
        (*out)[i] = NAN;
    if (dw_json_kind(r) == DW_JSON_ARRAY && dw_json_len(r) > 0 && dw_json_len(r) != n)
        return dw_fail(err, DW_E_INPUT,
                       "'reward': the line has the total and %zu rewards, and the recipe has %zu; "
                       "give it the same rewards, or --score-again to score by its own",
                       dw_json_len(r) - 1, n - 1);
    if (dw_json_kind(r) == DW_JSON_ARRAY)
        return read_numbers(r, "reward", n, *out, err);
    if (dw_json_kind(r) == DW_JSON_NUMBER)
        **out = dw_json_num(r);
    else if (dw_json_kind(r) != DW_JSON_NULL)
        return dw_fail(err, DW_E_INPUT, "'reward': expected a number, a list or null, got %s",
                       dw_json_kind_name(r));
    return DW_OK;
}

static dw_status choose(const dw_json *v, const char *key, const char *const *names,
                        uint8_t fallback, uint8_t *out, dw_err *err)
{
    const char *name;
    *out = fallback;
    DW_TRY(dw_json_get_cstr(v, key, names[fallback], &name, err));
    for (uint8_t i = 0; names[i]; i++)
        if (!strcmp(names[i], name)) {
            *out = i;
            return DW_OK;
        }
    const char *near = dw_nearest(name, names);
    return dw_fail(err, DW_E_INPUT, "'%s': no '%s'%s%s%s", key, name,
                   near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static dw_text text_of(dw_arena *a, const dw_json *v, const char *key)
{
    const dw_json *x = dw_json_get(v, key);
    if (dw_json_kind(x) != DW_JSON_STRING)
        return (dw_text){"", 0};
    dw_text s = dw_json_str(x);
    return (dw_text){dw_arena_strndup(a, s.ptr, s.len), s.len};
}

/* The data's own row where it is the same one, else a row made of what the line says. */
static const dw_row *row_of(const dw_live_task *t, const dw_json *v, bool all, dw_arena *a,
                            const int32_t *prompt, size_t n)
{
    int64_t file = 0, number = 0;
    dw_err none;
    dw_json_get_int(v, "file", 0, 0, UINT32_MAX, &file, &none);
    dw_json_get_int(v, "line", 0, 0, UINT32_MAX, &number, &none);
    for (size_t i = 0; all && i < dw_dataset_len(t->data); i++) {
        const dw_row *r = dw_dataset_row(t->data, i);
        if (r->file == file && r->line == number)
            return r;
    }
    dw_row *r = dw_arena_alloc(a, sizeof *r);
    double *field = dw_arena_alloc(a, (t->n_field + 1) * sizeof *field);
    dw_buf meta = {0};
    const dw_json *row = dw_json_get(v, "row");
    if (dw_json_kind(row) == DW_JSON_OBJECT)
        dw_json_put(&meta, row, false, 0);
    else
        dw_buf_adds(&meta, "{}");
    for (size_t k = 0; k < t->n_field; k++) {
        const dw_json *x = dw_json_path(row, t->field[k]);
        field[k] = dw_json_kind(x) == DW_JSON_NUMBER ? dw_json_num(x) : NAN;
    }
    *r = (dw_row){.prompt = prompt,
                  .n_prompt = (uint32_t)n,
                  .weight = 1,
                  .label = 1,
                  .target = 1,
                  .field = field,
                  .prompt_text = text_of(a, v, "prompt"),
                  .meta = {dw_arena_strndup(a, meta.ptr, meta.len), meta.len},
                  .file = (uint32_t)file,
                  .line = (uint32_t)number};
    dw_buf_finish(&meta);
    return r;
}

static dw_status read_teaching(dw_arena *a, const dw_json *v, uint32_t vocab, dw_seq *q,
                               dw_err *err)
{
    int32_t *id;
    size_t n;
    DW_TRY(dw_json_get_bool(v, "untaught", false, &q->untaught, err));
    if (!dw_json_get(v, "teacher_prompt_ids"))
        return DW_OK;
    DW_TRY(read_ids(a, v, "teacher_prompt_ids", vocab, &id, &n, err));
    q->teacher_prompt = id;
    q->n_teacher_prompt = (uint32_t)n;
    return DW_OK;
}

static dw_status read_sequence(dw_set *s, const dw_json *v, bool all, dw_err *err)
{
    dw_live_task *t = s->task;
    dw_arena *a = s->arena;
    uint32_t vocab = dw_model_description(t->model->m)->vocab;
    int32_t *prompt, *ids;
    size_t n_prompt, n;
    int64_t group, mate, place, max_tokens;
    double temperature;
    const char *id;
    dw_seq q = {.weight = 1, .target = 1, .rank = NAN, .mate = -1};
    DW_TRY(read_ids(a, v, "prompt_ids", vocab, &prompt, &n_prompt, err));
    DW_TRY(read_ids(a, v, "ids", vocab, &ids, &n, err));
    if (all || !t->job->score_again)
        DW_TRY(read_reward(t, v, a, &q.reward, err));
    if (all)
        DW_TRY(read_teaching(a, v, vocab, &q, err));
    DW_TRY(choose(v, "role", roles, DOWEL_TRAINED, &q.role, err));
    DW_TRY(choose(v, "stop", stops, DOWEL_STOP_EOS, &q.stop, err));
    DW_TRY(dw_json_get_int(v, "group", -1, -1, INT32_MAX, &group, err));
    DW_TRY(dw_json_get_int(v, "mate", -1, -1, INT32_MAX, &mate, err));
    DW_TRY(dw_json_get_int(v, "place", (int64_t)s->n_seq, 0, UINT32_MAX, &place, err));
    DW_TRY(dw_json_get_cstr(v, "id", "", &id, err));
    DW_TRY(dw_json_get_num(v, "weight", 1, 0, 1e300, &q.weight, err));
    DW_TRY(dw_json_get_num(v, "label", 0, -1, 1, &q.label, err));
    DW_TRY(dw_json_get_num(v, "temperature", t->plan->rollout->temperature, 1e-6, 1e6, &temperature,
                           err));
    DW_TRY(dw_json_get_int(v, "max_tokens", t->plan->rollout->max_tokens, 1, INT32_MAX, &max_tokens,
                           err));
    const dw_packable *before = s->n_seq ? &s->pack[s->n_seq - 1] : NULL;
    bool same = before && before->n_prompt == n_prompt &&
                !memcmp(before->prompt, prompt, n_prompt * sizeof *prompt);
    if (same) /* shared in memory, so it is computed once */
        prompt = (int32_t *)before->prompt;
    q.group = (int32_t)group;
    if (group < 0)
        q.group = before ? s->seq[s->n_seq - 1].group + !same : 0;
    q.id = id[0] ? strtoull(id, NULL, 10) : s->n_seq;
    q.mate = all ? (int32_t)mate : -1;
    q.place = (uint32_t)place;
    q.row = row_of(t, v, all, a, prompt, n_prompt);
    q.why = dw_arena_alloc(a, (t->n_reward + 1) * sizeof *q.why);
    dw_text text = text_of(a, v, "completion");
    q.completion_text = text.ptr;
    q.completion_len = text.len;
    if (!all) {
        q.weight = 1;
        q.label = 0;
    }
    if (!dw_set_add(s, &q, prompt, n_prompt, ids, n))
        return dw_fail(err, DW_E_INPUT, "'ids': nothing to train on");
    s->temperature = temperature;
    s->max_tok = (uint32_t)max_tokens;
    return DW_OK;
}

static dw_status read_columns(dw_set *s, size_t i, const dw_json *v, bool all, dw_err *err)
{
    dw_token_column c[DW_N_TOKEN_COLUMN];
    size_t n = s->pack[i].n_completion;
    dw_set_columns(s, c);
    if (!dw_json_get(v, "logp"))
        return dw_fail(err, DW_E_INPUT, "'logp' is missing: one number per id");
    for (size_t k = 0; k < DW_N_TOKEN_COLUMN; k++) {
        const dw_json *list = dw_json_get(v, c[k].name);
        bool sampled =
            c[k].x == &s->old_logp || c[k].x == &s->sampler_logp || c[k].x == &s->token_reward;
        bool rescored = !all && s->task->job->score_again && c[k].x == &s->token_reward;
        if (!list || (!all && !sampled) || rescored)
            continue;
        size_t w = c[k].width;
        if (!*c[k].x)
            *c[k].x = dw_arena_alloc(s->arena, (s->n_tok * w + 1) * sizeof(double));
        DW_TRY(read_numbers(list, c[k].name, n * w, *c[k].x + s->seq[i].tok * w, err));
    }
    return DW_OK;
}

/* ---- one rollout ---- */

static bool is_of(const line *l, const dw_live_task *t)
{
    return l->task.len == 0 || dw_text_is(l->task, t->plan->name);
}

/* The lines of the n-th rollout of a task: those of its n-th step. */
static size_t find(const dw_store *s, const dw_live_task *t, uint64_t n, const line **out,
                   uint64_t *have)
{
    int64_t step = -1;
    size_t count = 0;
    *have = 0;
    for (size_t i = 0; i < s->n; i++) {
        const line *l = &s->item[i];
        if (!is_of(l, t))
            continue;
        if (l->step != step) {
            step = l->step;
            (*have)++;
        }
        if (*have == n + 1)
            out[count++] = l;
    }
    return count;
}

static dw_status take_lines(dw_set *out, const line *const *l, dw_json **v, size_t n, bool all,
                            dw_err *err)
{
    for (size_t i = 0; i < n; i++) {
        DW_TRY(parse_line(l[i], &v[i], err));
        dw_status st = read_sequence(out, v[i], all, err);
        if (st < 0)
            return at(l[i], st, err);
    }
    uint32_t max_tok = out->max_tok;
    dw_set_seal(out);
    out->max_tok = max_tok;
    for (size_t i = 0; i < n; i++) {
        dw_status st = read_columns(out, i, v[i], all, err);
        if (st < 0)
            return at(l[i], st, err);
    }
    if (!out->old_logp) {
        out->old_logp = dw_arena_alloc(out->arena, (out->n_tok + 1) * sizeof(double));
        memcpy(out->old_logp, out->sampler_logp, out->n_tok * sizeof(double));
    }
    return DW_OK;
}

dw_status dw_store_take(const dw_store *s, dw_live_task *t, uint64_t n, bool all, dw_arena *a,
                        dw_set *out, dw_err *err)
{
    const line **l = dw_arena_alloc(a, (s->n + 1) * sizeof *l);
    uint64_t have;
    size_t count = find(s, t, n, l, &have);
    if (count == 0)
        return dw_fail(err, DW_E_INPUT,
                       "%s: holds %" PRIu64 " rollouts of task '%s', and the run needs one more; "
                       "give the recipe fewer steps",
                       s->item[0].file, have, t->plan->name);
    dw_json **v = dw_zalloc(count + 1, sizeof(dw_json *));
    dw_set_init(out, t, a, count, 0);
    dw_status st = take_lines(out, l, v, count, all, err);
    for (size_t i = 0; i < count; i++)
        dw_json_free(v[i]);
    dw_free(v);
    return st;
}
