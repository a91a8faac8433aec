/* Reads rows, tokenises them, keeps what a task trains on and counts the rest. */
#include "data/dataset_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json_scan.h"
#include "base/log.h"
#include "data/folder.h"
#include "data/jsonl.h"
#include "data/row.h"
#include "data/seen.h"

/* What a call of dw_dataset_load works with. */
typedef struct loader {
    dw_row_reader reader;
    dw_row_fn fn;
    void *fn_ctx;
    dw_dataset *d;
    size_t bad_shown;
    uint64_t bad; /* of this source */
    dw_seen seen;
    uint64_t read;    /* rows of this source */
    size_t part_from; /* its first row in d->row */
    uint32_t file0;   /* its first file in d->file */
    bool no_room;
    dw_err full;  /* where no_room */
    bool refused; /* what is wrong is not the row's fault: on_bad does not apply */
} loader;

/* ---- keeping ---- */

static void count_row(dw_data_counts *c, const dw_draft *w, size_t n_id)
{
    size_t all = dw_row_tokens(w);
    c->rows++;
    c->tokens += n_id - w->n_teacher_prompt;
    if (all > c->longest)
        c->longest = (uint32_t)all;
    c->split_marker += w->split_marker;
    c->split_prefix += w->split_prefix;
    c->weights += w->has_weight;
    c->targets += w->has_target;
    c->margins += w->has_margin;
    c->gold += w->has_gold;
    c->teacher_prompts += w->has_teacher_prompt;
    c->talks += w->talk;
    c->split_messages += w->split_messages;
}

/* The lengths that tell rows of the same ids apart. */
static uint64_t shape_hash(const dw_draft *w)
{
    dw_ids shape = {0};
    dw_ids_push(&shape, (int32_t)w->n_prompt);
    for (size_t i = 0; i < w->n_answer; i++)
        dw_ids_push(&shape, (int32_t)w->answer[i].n);
    for (size_t i = 0; i < w->n_step; i++)
        dw_ids_push(&shape, (int32_t)w->step_end[i]);
    uint64_t h = dw_hash64(shape.id, shape.n * sizeof *shape.id);
    dw_ids_finish(&shape);
    return h;
}

/* A copy that lives as long as the data set; NULL: there is no room, and l->full says why. */
static void *keep(loader *l, const void *from, size_t bytes)
{
    void *p = l->no_room ? NULL : dw_spill_alloc(&l->d->spill, bytes + 1, &l->full);
    l->no_room |= !p;
    if (bytes && p && from)
        memcpy(p, from, bytes);
    return p;
}

static dw_text keep_text(loader *l, const dw_column_text *t)
{
    char *p = keep(l, NULL, t->len);
    dw_text out = {p, t->len};
    for (size_t i = 0; p && i < t->n; i++) {
        memcpy(p, t->part[i].text.ptr, t->part[i].text.len);
        p += t->part[i].text.len;
    }
    return out;
}

/* Counts what an earlier row holds already; true: it is to be dropped. */
static bool is_duplicate(loader *l, uint64_t hash, dw_seen_place at)
{
    dw_data_counts *c = &l->d->counts;
    dw_seen_place first;
    const bool drop = l->reader.s->on_duplicate == DW_DUPLICATE_DROP;
    if (dw_seen_add(&l->seen, hash, at, &first))
        return false;
    if (!c->duplicate++)
        snprintf(c->duplicate_at, sizeof c->duplicate_at, "%s:%u and %s:%u", l->d->file[first.file],
                 first.line, l->d->file[at.file], at.line);
    c->duplicates_dropped |= drop;
    return drop;
}

static dw_status keep_row(loader *l, const dw_draft *w, dw_text raw, uint32_t file, uint32_t line,
                          dw_err *err)
{
    dw_dataset *d = l->d;
    const dw_ids *ids = &l->reader.ids;
    const uint64_t hash = dw_hash64(ids->id, ids->n * sizeof *ids->id) ^ shape_hash(w);
    if (is_duplicate(l, hash ^ (w->label < 0), (dw_seen_place){file, line}))
        return DW_OK;
    dw_row *r = keep(l, NULL, sizeof *r);
    const int32_t *id = keep(l, ids->id, ids->n * sizeof *id);
    dw_answer *answer = keep(l, NULL, w->n_answer * sizeof *answer);
    const dw_row row =
        (dw_row){.prompt = id,
                 .n_prompt = (uint32_t)w->n_prompt,
                 .n_answer = (uint32_t)w->n_answer,
                 .answer = answer,
                 .n_teacher_prompt = (uint32_t)w->n_teacher_prompt,
                 .n_step = (uint32_t)w->n_step,
                 .step_end = keep(l, w->step_end, w->n_step * sizeof *w->step_end),
                 .step_label = keep(l, w->step_label, w->n_step * sizeof *w->step_label),
                 .weight = w->weight,
                 .label = w->label,
                 .target = w->target,
                 .margin = w->margin,
                 .field = keep(l, w->field, l->reader.s->n_field * sizeof *w->field),
                 .prompt_text = keep_text(l, &w->prompt),
                 .meta = {keep(l, raw.ptr, raw.len), raw.len},
                 .file = file,
                 .line = line};
    const size_t n_after = l->reader.mask.len - (w->masked ? w->n_prompt : 0);
    const unsigned char *mask =
        w->masked ? keep(l, l->reader.mask.ptr + w->n_prompt, n_after) : NULL;
    if (l->no_room) {
        *err = l->full;
        return DW_E_IO;
    }
    DW_GROW(d->row, d->n, d->cap);
    d->row[d->n++] = r;
    *r = row;
    id += w->n_prompt;
    for (size_t i = 0; i < w->n_answer; i++) {
        answer[i] = (dw_answer){id, (uint32_t)w->answer[i].n, w->answer[i].rank};
        id += w->answer[i].n;
    }
    r->teacher_prompt = w->has_teacher_prompt ? id : NULL;
    size_t n_said = (size_t)(id - r->prompt) - w->n_prompt, said = 0;
    if (w->masked)
        r->mask = mask;
    for (size_t i = 0; i < n_said; i++)
        said += !r->mask || r->mask[i];
    d->counts.trained += said;
    r->hash = hash;
    count_row(&d->counts, w, ids->n);
    return DW_OK;
}

/* ---- one row ---- */

/* Counts rows that cannot be used although nothing is wrong with how they are written. */
static bool is_useless(loader *l, const dw_draft *w)
{
    dw_data_counts *c = &l->d->counts;
    dw_arena *a = &l->reader.scratch;
    dw_data_type type = l->reader.s->type;
    bool empty = false, tied = type == DW_LISTS;
    for (size_t i = 0; i < w->n_answer; i++) {
        empty |= type != DW_STEPS && !w->answer[i].text.len;
        tied &= w->answer[i].rank == 1; /* all of them */
    }
    bool equal = type == DW_PAIRS && dw_text_eq(dw_column_flat(a, &w->answer[0].text),
                                                dw_column_flat(a, &w->answer[1].text));
    c->empty_completion += empty;
    c->identical_pair += !empty && equal;
    c->tied_list += !empty && tied;
    return empty || equal || tied;
}

static dw_status fit(loader *l, dw_draft *w, bool *drop, dw_err *err)
{
    size_t total = dw_row_tokens(w);
    dw_row_fit f = dw_row_cut(&l->reader, w);
    *drop = f == DW_FITS_NOT;
    l->refused = *drop && l->reader.s->on_long == DW_LONG_ERROR;
    if (l->refused)
        return dw_fail(err, DW_E_INPUT, "the row has %zu tokens, more than the %zu that fit", total,
                       l->reader.limit);
    l->d->counts.cut += f == DW_FITS_CUT;
    l->d->counts.too_long += *drop;
    return DW_OK;
}

/* By the prompt's text (of texts by all of it), so that a prompt is always on the same side. */
static bool is_aside(loader *l, const dw_draft *w)
{
    const dw_data_spec *s = l->reader.s;
    if (s->holdout <= 0)
        return false;
    const dw_column_text *t = s->type == DW_TEXTS ? &w->answer[0].text : &w->prompt;
    const bool held = dw_prompt_share(dw_column_flat(&l->reader.scratch, t)) < s->holdout;
    l->d->counts.set_aside += held != s->held;
    return held != s->held;
}

static dw_status take_object(loader *l, const dw_column_row *row, uint32_t file, uint32_t line,
                             size_t *at, dw_err *err)
{
    dw_draft w;
    bool drop;
    DW_TRY(dw_row_read(&l->reader, row, &w, at, err));
    *at = 0;
    if (is_useless(l, &w))
        return DW_OK;
    DW_TRY(dw_row_encode(&l->reader, &w, err));
    if (is_aside(l, &w))
        return DW_OK;
    DW_TRY(dw_row_teaches(&l->reader, &w, err));
    /* Of a text nothing predicts the first token. */
    size_t least = l->reader.s->type == DW_TEXTS ? 2 : 1;
    for (size_t i = 0; i < w.n_answer; i++)
        if (w.answer[i].n < least) {
            l->d->counts.empty_completion++;
            return DW_OK;
        }
    DW_TRY(fit(l, &w, &drop, err));
    return drop ? DW_OK : keep_row(l, &w, row->raw, file, line, err);
}

/* Puts "file:line:column" of byte `at` of the row in front of the message. */
static void locate(const dw_rows *in, dw_text raw, size_t at, dw_err *err)
{
    uint32_t line, column;
    dw_rows_place(in, raw, at, &line, &column);
    dw_err_prefix(err, "%s:%u:%u", dw_rows_name(in), line, column);
}

/* Puts what the recipe's function makes of a row in its place; row->json NULL: nothing, on purpose.
 */
static dw_status map_row(loader *l, const char *map, dw_column_row *row, dw_json **own, dw_err *err)
{
    dw_buf b = {0};
    bool json;
    if (!l->fn)
        return dw_fail(err, DW_E_BUG, "no Lua to run the function '%s'", map);
    dw_status st = l->fn(l->fn_ctx, map, row->raw, &b, &json, err);
    if (!st) {
        row->raw = (dw_text){dw_arena_strndup(&l->reader.scratch, b.ptr, b.len), b.len};
        st = dw_json_parse(row->raw.ptr, row->raw.len, DW_JSON_DEPTH_ROW, 1, own, err);
    }
    dw_buf_finish(&b);
    if (st)
        return st;
    const dw_json_type kind = dw_json_kind(*own);
    l->d->counts.left_out += kind == DW_JSON_NULL;
    row->json = kind == DW_JSON_NULL ? NULL : *own;
    row->table = false;
    if (kind == DW_JSON_OBJECT || kind == DW_JSON_NULL)
        return DW_OK;
    return dw_fail(err, DW_E_INPUT, "map made %s of the row; wanted a row, or nil to leave it out",
                   dw_json_kind_name(*own));
}

static dw_status take_row(loader *l, const dw_rows *in, dw_text raw, uint32_t file, uint32_t line,
                          dw_err *err)
{
    dw_json *json;
    DW_TRY(dw_rows_parse(in, raw, &json, err));
    dw_column_row row = {raw, json, l->fn, l->fn_ctx, dw_rows_is_table(in)};
    const char *map = l->reader.s->map;
    dw_json *mapped = NULL;
    size_t at = 0;
    dw_status st = DW_OK;
    if (dw_json_kind(json) != DW_JSON_OBJECT)
        st = dw_fail(err, DW_E_INPUT, "wanted an object, found %s", dw_json_kind_name(json));
    else if (map)
        st = map_row(l, map, &row, &mapped, err);
    if (!st && row.json)
        st = take_object(l, &row, file, line, &at, err);
    l->refused |= at == DW_COLUMN_REFUSED;
    if (st)
        locate(in, raw, l->refused || map ? 0 : at, err);
    dw_json_free(mapped);
    dw_json_free(json);
    return st;
}

/* A bad row ends the load, or is counted, listed and, for the first few, shown. */
static dw_status bad_row(loader *l, dw_status st, dw_err *err)
{
    enum { SHOWN = 3, LISTED = 16 << 20 };
    const dw_data_spec *s = l->reader.s;
    if (st != DW_E_INPUT || l->refused || s->on_bad != DW_BAD_SKIP)
        return st;
    l->bad++;
    l->d->counts.bad++;
    if (l->d->bad_rows.len < LISTED)
        dw_buf_printf(&l->d->bad_rows, "%s\n", err->text);
    if (s->max_bad >= 1 && (double)l->bad > s->max_bad) {
        dw_err_prefix(err, "%llu bad rows, and on_bad_row allows %.0f; the last is",
                      (unsigned long long)l->bad, s->max_bad);
        return st;
    }
    if (l->bad_shown++ < SHOWN)
        dw_log(DW_WARN, "data", "%s (row skipped)", err->text);
    return DW_OK;
}

static dw_status check_share(const loader *l, dw_err *err)
{
    const dw_data_spec *s = l->reader.s;
    if (s->on_bad != DW_BAD_SKIP || s->max_bad <= 0 || s->max_bad >= 1 ||
        (double)l->bad <= s->max_bad * (double)l->read)
        return DW_OK;
    return dw_fail(err, DW_E_INPUT,
                   "%s: %llu of %llu rows are bad, and on_bad_row allows a share of %g; the first "
                   "is %.*s",
                   s->file[0], (unsigned long long)l->bad, (unsigned long long)l->read, s->max_bad,
                   (int)strcspn(l->d->bad_rows.ptr, "\n"), l->d->bad_rows.ptr);
}

static dw_status take_file(loader *l, uint32_t file, dw_sha256 *sha, dw_err *err)
{
    dw_rows *in;
    dw_status st = DW_OK;
    DW_TRY(dw_rows_open(l->d->file[file], &in, err));
    dw_rows_hash(in, sha);
    while (!st && !(l->reader.s->max_rows && l->d->n - l->part_from >= l->reader.s->max_rows)) {
        dw_text raw;
        uint32_t line;
        bool more;
        st = dw_rows_next(in, &raw, &line, &more, err);
        if (st || !more)
            break;
        l->read++;
        /* Not the white space around the value: the row is handed on as it is. */
        while (raw.len && dw_json_space(raw.ptr + raw.len - 1, raw.ptr + raw.len))
            raw.len--;
        dw_arena_reset(&l->reader.scratch);
        st = take_row(l, in, raw, file, line, err);
        if (st)
            st = bad_row(l, st, err);
    }
    dw_rows_close(in);
    return st;
}

/* ---- the whole ---- */

/* A recipe that names a field for something a row may do without means that some rows have it. */
static dw_status check_named(const loader *l, dw_err *err)
{
    const dw_data_counts *c = &l->d->counts;
    const struct {
        dw_data_column column;
        uint64_t n;
    } all[] = {{DW_COL_GOLD, c->gold},
               {DW_COL_TEACHER_PROMPT, c->teacher_prompts},
               {DW_COL_TARGET, c->targets},
               {DW_COL_MARGIN, c->margins},
               {DW_COL_WEIGHT, c->weights}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const char *field = l->reader.s->column[all[i].column].field;
        if (field && !all[i].n)
            return dw_fail(err, DW_E_INPUT, "%s: no row has the field \"%s\" that %s names",
                           l->reader.s->file[0], field, dw_data_column_name(all[i].column));
    }
    return DW_OK;
}

/* Another template makes other rows out of the same file. */
static dw_status hash_file(dw_sha256 *sha, const char *path, dw_err *err)
{
    dw_buf text = {0};
    dw_status st = dw_file_read(path, DW_CHAT_TEMPLATE_MAX, &text, err);
    if (st >= 0)
        dw_sha256_add(sha, text.ptr, text.len);
    dw_buf_finish(&text);
    return st;
}

static dw_status nothing_left(const loader *l, dw_err *err)
{
    const dw_data_counts *c = &l->d->counts;
    const dw_data_spec *s = l->reader.s;
    dw_buf aside = {0};
    if (c->set_aside)
        dw_buf_printf(&aside, ", %llu set aside by holdout", (unsigned long long)c->set_aside);
    dw_status st = dw_fail(
        err, DW_E_INPUT,
        "%s%s: no row of %s is left (%llu bad, %llu too long, %llu with an empty "
        "completion, %llu with equal halves%s%s)",
        s->n_file ? s->file[0] : "no file", s->n_file > 1 ? " and others" : "",
        dw_data_type_name(s->type), (unsigned long long)c->bad, (unsigned long long)c->too_long,
        (unsigned long long)c->empty_completion, (unsigned long long)c->identical_pair,
        c->tied_list ? ", others rank all completions alike" : "", aside.ptr ? aside.ptr : "");
    dw_buf_finish(&aside);
    return st;
}

static dw_status take_files(loader *l, dw_sha256 *sha, dw_err *err)
{
    const dw_data_spec *s = l->reader.s;
    dw_status st = dw_row_reader_open(&l->reader, err);
    if (s->template_file && st >= 0)
        st = hash_file(sha, s->template_file, err);
    for (size_t i = 0; i < s->n_file && !st; i++)
        st = take_file(l, l->file0 + (uint32_t)i, sha, err);
    if (!st)
        st = check_share(l, err);
    if (l->reader.turn_end >= 0 || !l->part_from)
        l->d->counts.turn_end = l->reader.turn_end;
    if (!st && l->d->n == l->part_from)
        st = nothing_left(l, err);
    return st ? st : check_named(l, err);
}

/* One source behind those that are there. */
static dw_status take_source(loader *l, const dw_data_spec *s, const dw_tokenizer *t,
                             uint32_t max_positions, dw_sha256 *sha, dw_err *err)
{
    dw_dataset *d = l->d;
    dw_arena a = {0};
    size_t limit = s->max_tokens ? s->max_tokens : SIZE_MAX;
    /* a prompt needs a position for its answer */
    uint32_t most = s->type == DW_PROMPTS && max_positions > 1 ? max_positions - 1 : max_positions;
    if (most && most < limit)
        limit = most;
    l->reader = (dw_row_reader){.s = s, .t = t, .limit = limit};
    l->read = l->bad = 0;
    l->part_from = d->n;
    l->file0 = (uint32_t)d->n_file;
    d->file = dw_realloc(d->file, (d->n_file + s->n_file + 1) * sizeof *d->file);
    dw_status st = DW_OK;
    for (size_t i = 0; i < s->n_file && !st; i++) {
        const char *path;
        st = dw_folder_file(&a, s->file[i], s->split, &path, err);
        if (!st)
            d->file[d->n_file++] = dw_strdup(path);
    }
    if (!st) {
        st = take_files(l, sha, err);
        dw_row_reader_close(&l->reader);
    }
    dw_arena_finish(&a);
    return st;
}

dw_status dw_dataset_load_mixture(const dw_data_source *source, size_t n, const dw_tokenizer *t,
                                  uint32_t max_positions, dw_row_fn fn, void *fn_ctx,
                                  dw_dataset **out, dw_err *err)
{
    dw_dataset *d = dw_zalloc(1, sizeof *d);
    loader l = {.fn = fn, .fn_ctx = fn_ctx, .d = d};
    dw_sha256 *sha = dw_sha256_create();
    dw_status st = DW_OK;
    double sum = 0;
    *out = NULL;
    dw_assert(n > 0 && n <= DW_MIXTURE_MAX);
    d->n_part = n;
    for (size_t i = 0; i < n; i++)
        sum += source[i].weight;
    for (size_t i = 0; i < n && !st; i++) {
        d->first[i] = d->n;
        d->share[i] = source[i].weight / sum;
        st = take_source(&l, source[i].spec, t, max_positions, sha, err);
        d->first[i + 1] = d->n;
    }
    dw_sha256_hex(sha, d->hash);
    dw_seen_finish(&l.seen);
    if (st) {
        dw_dataset_free(d);
        return st;
    }
    dw_spill_rest(&d->spill);
    *out = d;
    return DW_OK;
}

dw_status dw_dataset_load(const dw_data_spec *s, const dw_tokenizer *t, uint32_t max_positions,
                          dw_row_fn fn, void *fn_ctx, dw_dataset **out, dw_err *err)
{
    const dw_data_source one = {s, 1};
    return dw_dataset_load_mixture(&one, 1, t, max_positions, fn, fn_ctx, out, err);
}

void dw_dataset_free(dw_dataset *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->n_file; i++)
        dw_free(d->file[i]);
    dw_free(d->file);
    dw_free(d->row);
    dw_buf_finish(&d->bad_rows);
    dw_spill_finish(&d->spill);
    dw_free(d);
}
