/* Reads rows, tokenises them, keeps what a task trains on and counts the rest. */
#include "data/dataset.h"

#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/log.h"
#include "data/column.h"
#include "data/jsonl.h"
#include "data/split.h"

/* While reading, ids and texts are offsets, because the blocks still move. */
typedef struct place {
    size_t ids, prompt_text, meta;
} place;

struct dw_dataset {
    dw_row *row;
    size_t n, cap, cap_place;
    place *place;
    dw_ids ids;
    dw_buf text;
    dw_data_counts counts;
    char **file;
    size_t n_file;
    char hash[65];
};

/* What a call of dw_dataset_load works with. */
typedef struct loader {
    const dw_data_spec *s;
    const dw_tokenizer *t;
    dw_row_fn fn;
    void *fn_ctx;
    dw_dataset *d;
    dw_column_plan text, prompt, completion, chosen, rejected;
    const int32_t *before; /* what goes in front of a prompt */
    size_t n_before;
    size_t limit; /* tokens of a row; SIZE_MAX: none */
    dw_arena keep, row_arena;
    dw_ids ids; /* of the row at hand: prompt, completion, rejected */
    size_t bad_shown;
    bool refused; /* what is wrong is not the row's fault: on_bad does not apply */
} loader;

/* A row between its text and its place in the data set. */
typedef struct draft {
    dw_column_text prompt, half[2];
    size_t n_half;  /* completions: 0, 1 or 2 */
    size_t n_id[3]; /* tokens of prompt and completions */
    bool split_marker, split_prefix;
} draft;

const char *dw_data_type_name(dw_data_type t)
{
    static const char *const name[] = {"texts", "completions", "pairs", "prompts"};
    return name[t];
}

/* ---- text of a row ---- */

static dw_status split_pair(loader *l, draft *w, dw_err *err)
{
    dw_arena *a = &l->row_arena;
    bool by_marker;
    size_t cut = dw_split_prompt(dw_column_flat(a, &w->half[0]), dw_column_flat(a, &w->half[1]),
                                 l->s->split_marker, &by_marker);
    if (!cut)
        return dw_fail(err, DW_E_INPUT,
                       "chosen and rejected begin with no common prompt (name the prompt's field, "
                       "or the marker it ends with)");
    w->prompt = dw_column_slice(a, &w->half[0], 0, cut);
    for (int h = 0; h < 2; h++)
        w->half[h] = dw_column_slice(a, &w->half[h], cut, w->half[h].len);
    w->split_marker = by_marker;
    w->split_prefix = !by_marker;
    return DW_OK;
}

static dw_status read_texts(loader *l, const dw_column_row *row, draft *w, size_t *at, dw_err *err)
{
    dw_arena *a = &l->row_arena;
    switch (l->s->type) {
    case DW_TEXTS:
        w->n_half = 1;
        return dw_column_apply(a, &l->text, row, &w->half[0], at, err);
    case DW_PROMPTS:
        return dw_column_apply(a, &l->prompt, row, &w->prompt, at, err);
    case DW_COMPLETIONS:
        w->n_half = 1;
        DW_TRY(dw_column_apply(a, &l->prompt, row, &w->prompt, at, err));
        return dw_column_apply(a, &l->completion, row, &w->half[0], at, err);
    default:
        break;
    }
    const dw_json *prompt = dw_json_get(row->json, "prompt");
    bool explicit = dw_column_is_set(&l->s->prompt) ||
                    (!l->s->split_marker && prompt && dw_json_kind(prompt) != DW_JSON_NULL);
    w->n_half = 2;
    DW_TRY(dw_column_apply(a, &l->chosen, row, &w->half[0], at, err));
    DW_TRY(dw_column_apply(a, &l->rejected, row, &w->half[1], at, err));
    if (explicit)
        return dw_column_apply(a, &l->prompt, row, &w->prompt, at, err);
    dw_text c = dw_column_flat(a, &w->half[0]), r = dw_column_flat(a, &w->half[1]);
    /* Equal halves are counted, not split. */
    return dw_text_eq(c, r) ? DW_OK : split_pair(l, w, err);
}

/* ---- ids of a row ---- */

static bool begins_with(const int32_t *id, size_t n, const int32_t *head, size_t n_head)
{
    return n >= n_head && (!n_head || !memcmp(id, head, n_head * sizeof *id));
}

/* Appends the ids of one text; `lead` puts the tokenizer's first tokens in front unless the text
 * has them, `end` appends the end token unless it is there. */
static dw_status encode(loader *l, const dw_column_text *text, bool lead, bool end, size_t *n,
                        dw_err *err)
{
    size_t start = l->ids.n;
    int32_t eos = dw_tokenizer_eos(l->t);
    DW_TRY(dw_tokenizer_encode_parts(l->t, text->part, text->n, 0, &l->ids, err));
    if (lead && l->s->add_bos &&
        !begins_with(l->ids.id + start, l->ids.n - start, l->before, l->n_before)) {
        for (size_t i = 0; i < l->n_before; i++)
            dw_ids_push(&l->ids, 0);
        memmove(l->ids.id + start + l->n_before, l->ids.id + start,
                (l->ids.n - start - l->n_before) * sizeof *l->ids.id);
        memcpy(l->ids.id + start, l->before, l->n_before * sizeof *l->ids.id);
    }
    if (end && l->s->add_eos && (l->ids.n == start || l->ids.id[l->ids.n - 1] != eos))
        dw_ids_push(&l->ids, eos);
    *n = l->ids.n - start;
    return DW_OK;
}

static dw_status encode_row(loader *l, draft *w, dw_err *err)
{
    bool texts = l->s->type == DW_TEXTS;
    l->ids.n = 0;
    if (!texts) {
        DW_TRY(encode(l, &w->prompt, true, false, &w->n_id[0], err));
        if (!w->n_id[0])
            return dw_fail(err, DW_E_INPUT,
                           "the prompt is empty and this tokenizer puts no token "
                           "in front, so nothing predicts the first token");
    }
    for (size_t h = 0; h < w->n_half; h++)
        DW_TRY(encode(l, &w->half[h], texts, true, &w->n_id[1 + h], err));
    return DW_OK;
}

static void cut_ids(loader *l, draft *w, size_t which, size_t from, size_t n)
{
    size_t at = from + (which > 0 ? w->n_id[0] : 0);
    memmove(l->ids.id + at, l->ids.id + at + n, (l->ids.n - at - n) * sizeof *l->ids.id);
    l->ids.n -= n;
    w->n_id[which] -= n;
}

/* Makes the row fit; *drop when it cannot. */
static dw_status fit(loader *l, draft *w, bool *drop, dw_err *err)
{
    size_t longest = w->n_id[1] > w->n_id[2] ? w->n_id[1] : w->n_id[2];
    size_t total = w->n_id[0] + longest;
    *drop = false;
    if (total <= l->limit)
        return DW_OK;
    l->refused = l->s->on_long == DW_LONG_ERROR;
    if (l->refused)
        return dw_fail(err, DW_E_INPUT, "the row has %zu tokens, more than the %zu that fit", total,
                       l->limit);
    size_t over = total - l->limit;
    bool lead = l->s->add_bos && begins_with(l->ids.id, l->ids.n, l->before, l->n_before);
    size_t first = lead ? l->n_before : 0;
    if (l->s->on_long == DW_LONG_DROP) {
        *drop = true;
    } else if (l->s->type == DW_TEXTS) {
        cut_ids(l, w, 1, l->limit, over);
        l->d->counts.cut++;
    } else if (w->n_id[0] > over && w->n_id[0] - over > first) {
        cut_ids(l, w, 0, first, over);
        l->d->counts.cut++;
    } else {
        *drop = true; /* a completion is never cut */
    }
    if (*drop)
        l->d->counts.too_long++;
    return DW_OK;
}

/* ---- keeping ---- */

static void count_row(dw_data_counts *c, const draft *w)
{
    size_t longest = w->n_id[1] > w->n_id[2] ? w->n_id[1] : w->n_id[2];
    size_t all = w->n_id[0] + longest;
    c->rows++;
    c->tokens += w->n_id[0] + w->n_id[1] + w->n_id[2];
    if (all > c->longest)
        c->longest = (uint32_t)all;
    c->split_marker += w->split_marker;
    c->split_prefix += w->split_prefix;
}

static void keep_row(loader *l, const draft *w, dw_text raw, uint32_t file, uint32_t line)
{
    dw_dataset *d = l->d;
    DW_GROW(d->row, d->n, d->cap);
    DW_GROW(d->place, d->n, d->cap_place);
    dw_row *r = &d->row[d->n];
    *r = (dw_row){.n_prompt = (uint32_t)w->n_id[0],
                  .n_completion = {(uint32_t)w->n_id[1], (uint32_t)w->n_id[2]},
                  .prompt_text = {NULL, w->prompt.len},
                  .meta = {NULL, raw.len},
                  .file = file,
                  .line = line};
    d->place[d->n++] = (place){d->ids.n, d->text.len, d->text.len + w->prompt.len};
    uint32_t shape[3] = {r->n_prompt, r->n_completion[0], r->n_completion[1]};
    r->hash = dw_hash64(l->ids.id, l->ids.n * sizeof *l->ids.id) ^ dw_hash64(shape, sizeof shape);
    for (size_t i = 0; i < l->ids.n; i++)
        dw_ids_push(&d->ids, l->ids.id[i]);
    for (size_t i = 0; i < w->prompt.n; i++)
        dw_buf_add(&d->text, w->prompt.part[i].text.ptr, w->prompt.part[i].text.len);
    dw_buf_add(&d->text, raw.ptr, raw.len);
    count_row(&d->counts, w);
}

static void settle(dw_dataset *d)
{
    d->ids.id = dw_realloc(d->ids.id, (d->ids.n + 1) * sizeof *d->ids.id);
    for (size_t i = 0; i < d->n; i++) {
        dw_row *r = &d->row[i];
        r->prompt = d->ids.id + d->place[i].ids;
        r->completion[0] = r->prompt + r->n_prompt;
        r->completion[1] = r->completion[0] + r->n_completion[0];
        r->prompt_text.ptr = d->text.ptr + d->place[i].prompt_text;
        r->meta.ptr = d->text.ptr + d->place[i].meta;
    }
    dw_free(d->place);
    d->place = NULL;
}

/* ---- one row ---- */

static bool empty_half(const draft *w)
{
    for (size_t h = 0; h < w->n_half; h++)
        if (!w->half[h].len)
            return true;
    return false;
}

static bool equal_halves(loader *l, const draft *w)
{
    return w->n_half == 2 && dw_text_eq(dw_column_flat(&l->row_arena, &w->half[0]),
                                        dw_column_flat(&l->row_arena, &w->half[1]));
}

static dw_status take_object(loader *l, const dw_column_row *row, uint32_t file, uint32_t line,
                             size_t *at, dw_err *err)
{
    draft w = {0};
    bool drop;
    DW_TRY(read_texts(l, row, &w, at, err));
    *at = 0;
    if (empty_half(&w)) {
        l->d->counts.empty_completion++;
        return DW_OK;
    }
    if (equal_halves(l, &w)) {
        l->d->counts.identical_pair++;
        return DW_OK;
    }
    DW_TRY(encode_row(l, &w, err));
    if (l->s->type == DW_TEXTS && l->ids.n < 2) { /* its first token is predicted by nothing */
        l->d->counts.empty_completion++;
        return DW_OK;
    }
    DW_TRY(fit(l, &w, &drop, err));
    if (!drop)
        keep_row(l, &w, row->raw, file, line);
    return DW_OK;
}

/* Puts "file:line:column" of byte `at` of the row in front of the message. */
static void locate(const dw_rows *in, dw_text raw, size_t at, dw_err *err)
{
    uint32_t line, column;
    dw_rows_where(in, &line, &column);
    for (size_t i = 0; i < at && i < raw.len; i++) {
        line += raw.ptr[i] == '\n';
        column = raw.ptr[i] == '\n' ? 1 : column + 1;
    }
    dw_err_prefix(err, "%s:%u:%u", dw_rows_name(in), line, column);
}

static dw_status take_row(loader *l, const dw_rows *in, dw_text raw, uint32_t file, uint32_t line,
                          dw_err *err)
{
    dw_json *json;
    DW_TRY(dw_rows_parse(in, raw, &json, err));
    dw_column_row row = {raw, json, l->fn, l->fn_ctx};
    size_t at = 0;
    dw_status st;
    if (dw_json_kind(json) != DW_JSON_OBJECT)
        st = dw_fail(err, DW_E_INPUT, "wanted an object, found %s", dw_json_kind_name(json));
    else
        st = take_object(l, &row, file, line, &at, err);
    l->refused |= at == DW_COLUMN_REFUSED;
    if (st)
        locate(in, raw, l->refused ? 0 : at, err);
    dw_json_free(json);
    return st;
}

/* A bad row ends the load, or is counted and, for the first few, shown. */
static dw_status bad_row(loader *l, dw_status st, dw_err *err)
{
    enum { SHOWN = 3 };
    if (st != DW_E_INPUT || l->refused || l->s->on_bad != DW_BAD_SKIP)
        return st;
    l->d->counts.bad++;
    if (l->bad_shown++ < SHOWN)
        dw_log(DW_WARN, "data", "%s (row skipped)", err->text);
    return DW_OK;
}

static dw_status take_file(loader *l, uint32_t file, dw_sha256 *sha, dw_err *err)
{
    dw_rows *in;
    dw_status st = DW_OK;
    DW_TRY(dw_rows_open(l->s->file[file], &in, err));
    dw_text bytes = dw_rows_bytes(in);
    dw_sha256_add(sha, bytes.ptr, bytes.len);
    while (!st && !(l->s->max_rows && l->d->n >= l->s->max_rows)) {
        dw_text raw;
        uint32_t line;
        bool more;
        st = dw_rows_next(in, &raw, &line, &more, err);
        if (st || !more)
            break;
        /* Not the white space around the value: the row is handed on as it is. */
        while (raw.len && strchr(" \t\r\n", raw.ptr[raw.len - 1]))
            raw.len--;
        dw_arena_reset(&l->row_arena);
        st = take_row(l, in, raw, file, line, err);
        if (st)
            st = bad_row(l, st, err);
    }
    dw_rows_close(in);
    return st;
}

/* ---- the whole ---- */

static dw_status compile(loader *l, dw_err *err)
{
    const dw_data_spec *s = l->s;
    const struct {
        const dw_column *c;
        const char *name;
        dw_column_plan *out;
    } column[] = {
        {&s->text, "text", &l->text},
        {&s->prompt, "prompt", &l->prompt},
        {&s->completion, "completion", &l->completion},
        {&s->chosen, "chosen", &l->chosen},
        {&s->rejected, "rejected", &l->rejected},
    };
    for (size_t i = 0; i < sizeof column / sizeof *column; i++)
        DW_TRY(dw_column_compile(&l->keep, column[i].c, column[i].name, column[i].out, err));
    if (s->add_eos && s->type != DW_PROMPTS && dw_tokenizer_eos(l->t) < 0)
        return dw_fail(err, DW_E_RECIPE,
                       "completions should end in the tokenizer's eos token, and it names none "
                       "(set eos_token in tokenizer_config.json, or turn add_eos off)");
    return DW_OK;
}

static dw_status take_files(loader *l, dw_err *err)
{
    const dw_data_counts *c = &l->d->counts;
    dw_sha256 *sha = dw_sha256_create();
    dw_status st = compile(l, err);
    for (size_t i = 0; i < l->s->n_file && !st; i++)
        st = take_file(l, (uint32_t)i, sha, err);
    dw_sha256_hex(sha, l->d->hash);
    if (!st && !l->d->n)
        st =
            dw_fail(err, DW_E_INPUT,
                    "%s%s: no row of %s is left (%llu bad, %llu too long, %llu with an empty "
                    "completion, %llu with equal halves)",
                    l->s->n_file ? l->s->file[0] : "no file", l->s->n_file > 1 ? " and others" : "",
                    dw_data_type_name(l->s->type), (unsigned long long)c->bad,
                    (unsigned long long)c->too_long, (unsigned long long)c->empty_completion,
                    (unsigned long long)c->identical_pair);
    return st;
}

dw_status dw_dataset_load(const dw_data_spec *s, const dw_tokenizer *t, uint32_t max_positions,
                          dw_row_fn fn, void *fn_ctx, dw_dataset **out, dw_err *err)
{
    dw_dataset *d = dw_zalloc(1, sizeof *d);
    loader l = {.s = s, .t = t, .fn = fn, .fn_ctx = fn_ctx, .d = d};
    *out = NULL;
    l.before = dw_tokenizer_before(t, &l.n_before);
    l.limit = s->max_tokens ? s->max_tokens : SIZE_MAX;
    /* a prompt needs a position for its answer */
    uint32_t most = s->type == DW_PROMPTS && max_positions > 1 ? max_positions - 1 : max_positions;
    if (most && most < l.limit)
        l.limit = most;
    d->n_file = s->n_file;
    d->file = dw_zalloc(s->n_file + 1, sizeof *d->file);
    for (size_t i = 0; i < s->n_file; i++)
        d->file[i] = dw_strdup(s->file[i]);
    dw_status st = take_files(&l, err);
    dw_arena_finish(&l.keep);
    dw_arena_finish(&l.row_arena);
    dw_ids_finish(&l.ids);
    if (st) {
        dw_dataset_free(d);
        return st;
    }
    settle(d);
    *out = d;
    return DW_OK;
}

void dw_dataset_free(dw_dataset *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->n_file; i++)
        dw_free(d->file[i]);
    dw_free(d->file);
    dw_free(d->row);
    dw_free(d->place);
    dw_ids_finish(&d->ids);
    dw_buf_finish(&d->text);
    dw_free(d);
}

size_t dw_dataset_len(const dw_dataset *d)
{
    return d->n;
}

const dw_row *dw_dataset_row(const dw_dataset *d, size_t i)
{
    dw_assert(i < d->n);
    return &d->row[i];
}

const dw_data_counts *dw_dataset_counts(const dw_dataset *d)
{
    return &d->counts;
}

const char *dw_dataset_file(const dw_dataset *d, uint32_t file)
{
    dw_assert(file < d->n_file);
    return d->file[file];
}

void dw_dataset_hash(const dw_dataset *d, char out[65])
{
    memcpy(out, d->hash, 65);
}

void dw_data_counts_print(const dw_data_counts *c, const char *name, dw_buf *out)
{
    const struct {
        uint64_t n;
        const char *what;
    } line[] = {
        {c->bad, "bad, skipped"},
        {c->too_long, "too long, dropped"},
        {c->cut, "too long, cut (prompts on the left, texts at the end)"},
        {c->empty_completion, "with an empty completion, dropped"},
        {c->identical_pair, "with chosen equal to rejected, dropped"},
        {c->split_marker, "with the prompt inside, split at the marker"},
        {c->split_prefix, "with the prompt inside, split where both halves begin alike"},
    };
    for (size_t i = 0; i < sizeof line / sizeof *line; i++)
        if (line[i].n)
            dw_buf_printf(out, "%s: %llu row%s %s\n", name, (unsigned long long)line[i].n,
                          line[i].n == 1 ? "" : "s", line[i].what);
}
