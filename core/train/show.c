/* `dowel show RUN`: curves of what was measured, the last samples, and what is left to do. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "train/checkpoint.h"
#include "train/eval.h"
#include "train/run.h"
#include "train/stages.h"

enum { CURVE_WIDTH = 60, SHOWN_SAMPLES = 3, SAMPLE_BYTES = 400 };

/* ---- series ---- */

typedef struct series {
    char *name;
    double *value;
    size_t n, cap;
} series;

typedef struct history {
    series *item;
    size_t n, cap;
    double last_step, num_tokens, seconds;
    uint64_t skipped;
} history;

static series *series_of(history *h, const char *name)
{
    for (size_t i = 0; i < h->n; i++)
        if (!strcmp(h->item[i].name, name))
            return &h->item[i];
    DW_GROW(h->item, h->n, h->cap);
    h->item[h->n] = (series){.name = dw_strdup(name)};
    return &h->item[h->n++];
}

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && !strcmp(s + n - m, tail);
}

/* Bookkeeping is not a curve. */
static bool is_curve(const char *key)
{
    static const char *const no[] = {"step",          "epoch",     "num_tokens", "step_time",
                                     "learning_rate", "eval_time", "skipped",    NULL};
    for (size_t i = 0; no[i]; i++)
        if (!strcmp(key, no[i]))
            return false;
    return !ends_with(key, "_ci95") && !ends_with(key, "/epoch") && !ends_with(key, "eval_rows") &&
           !ends_with(key, "min_length") && !ends_with(key, "max_length") &&
           !ends_with(key, "_terminated_length");
}

static double number_or(const dw_json *row, const char *key, double otherwise)
{
    const dw_json *v = dw_json_get(row, key);
    return dw_json_kind(v) == DW_JSON_NUMBER ? dw_json_num(v) : otherwise;
}

static void take_row(history *h, const dw_json *row)
{
    h->last_step = number_or(row, "step", h->last_step);
    h->num_tokens = number_or(row, "num_tokens", h->num_tokens);
    h->seconds += number_or(row, "step_time", 0) + number_or(row, "eval_time", 0);
    h->skipped += dw_json_get(row, "skipped") != NULL;
    for (const dw_json *v = dw_json_first(row); v; v = dw_json_next(v)) {
        if (dw_json_kind(v) != DW_JSON_NUMBER || !is_curve(dw_json_key(v)))
            continue;
        series *s = series_of(h, dw_json_key(v));
        DW_GROW(s->value, s->n, s->cap);
        s->value[s->n++] = dw_json_num(v);
    }
}

static void free_history(history *h)
{
    for (size_t i = 0; i < h->n; i++) {
        dw_free(h->item[i].name);
        dw_free(h->item[i].value);
    }
    dw_free(h->item);
}

/* Calls fn on every line that parses. */
static void each_row(const dw_buf *file, history *h)
{
    dw_err ignored;
    for (size_t at = 0; at < file->len;) {
        const char *end = memchr(file->ptr + at, '\n', file->len - at);
        size_t n = end ? (size_t)(end - file->ptr) - at : file->len - at;
        dw_json *row = NULL;
        if (n > 0 && dw_json_parse(file->ptr + at, n, DW_JSON_DEPTH_HEADER, 1, &row, &ignored) >= 0)
            take_row(h, row);
        dw_json_free(row);
        at += n + 1;
    }
}

/* ---- curves ---- */

static void put_curve(const series *s, dw_buf *out)
{
    static const char *const level[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    double lo = INFINITY, hi = -INFINITY;
    for (size_t i = 0; i < s->n; i++) {
        lo = fmin(lo, s->value[i]);
        hi = fmax(hi, s->value[i]);
    }
    dw_buf_printf(out, "  %-34s ", s->name);
    size_t width = s->n < CURVE_WIDTH ? s->n : CURVE_WIDTH;
    for (size_t c = 0; c < width; c++) { /* each column is the mean of its share */
        size_t from = c * s->n / width, end = (c + 1) * s->n / width;
        double sum = 0;
        for (size_t i = from; i < end; i++)
            sum += s->value[i];
        double mean = sum / (double)(end - from);
        int at = hi > lo ? (int)((mean - lo) / (hi - lo) * 7.999) : 3;
        dw_buf_adds(out, level[at < 0 ? 0 : at > 7 ? 7 : at]);
    }
    dw_buf_printf(out, "  %.4g -> %.4g  (%.4g to %.4g)\n", s->value[0], s->value[s->n - 1], lo, hi);
}

/* ---- samples ---- */

static void put_text(dw_buf *out, const char *label, const dw_json *v)
{
    dw_text t = dw_json_kind(v) == DW_JSON_STRING ? dw_json_str(v) : (dw_text){"", 0};
    size_t n = t.len < SAMPLE_BYTES ? t.len : SAMPLE_BYTES;
    while (n > 0 && n < t.len && ((unsigned char)t.ptr[n] & 0xc0) == 0x80)
        n--;
    dw_buf_printf(out, "    %-10s ", label);
    for (size_t i = 0; i < n; i++) {
        if (t.ptr[i] == '\n')
            dw_buf_adds(out, "\n               ");
        else if ((unsigned char)t.ptr[i] >= 32)
            dw_buf_addc(out, t.ptr[i]);
    }
    dw_buf_adds(out, n < t.len ? " ...\n" : "\n");
}

static void put_sample(const dw_json *row, dw_buf *out)
{
    dw_buf_printf(out, "  step %.0f, reward %.4g, advantage %.4g\n", number_or(row, "step", 0),
                  number_or(row, "reward", NAN), number_or(row, "advantage", NAN));
    put_text(out, "prompt", dw_json_get(row, "prompt"));
    put_text(out, "completion", dw_json_get(row, "completion"));
    const dw_json *why = dw_json_get(row, "why");
    for (const dw_json *v = dw_json_first(dw_json_get(row, "rewards")); v; v = dw_json_next(v)) {
        const dw_json *reason = dw_json_get(why, dw_json_key(v));
        dw_text t = reason ? dw_json_str(reason) : (dw_text){"", 0};
        dw_buf_printf(out, "    %-10s ", dw_json_key(v));
        if (dw_json_kind(v) == DW_JSON_NUMBER)
            dw_buf_printf(out, "%.4g", dw_json_num(v));
        else
            dw_buf_adds(out, "no opinion");
        dw_buf_printf(out, "%s%.*s\n", t.len ? "  " : "", (int)t.len, t.ptr);
    }
}

static void put_samples(dw_arena *a, const char *run, dw_buf *out)
{
    dw_buf file = {0};
    dw_err ignored;
    const char *path = dw_path_join(a, run, "samples.jsonl");
    if (!dw_file_exists(path) || dw_file_read(path, SIZE_MAX / 2, &file, &ignored) < 0 ||
        file.len == 0) {
        dw_buf_finish(&file);
        return;
    }
    dw_buf_adds(out, "\nlast samples\n");
    size_t at = file.len, lines = 0;
    while (at > 0 && lines <= SHOWN_SAMPLES)
        lines += file.ptr[--at] == '\n';
    for (size_t from = at ? at + 1 : 0; from < file.len;) {
        const char *end = memchr(file.ptr + from, '\n', file.len - from);
        size_t n = end ? (size_t)(end - file.ptr) - from : file.len - from;
        dw_json *row = NULL;
        if (n > 0 &&
            dw_json_parse(file.ptr + from, n, DW_JSON_DEPTH_HEADER, 1, &row, &ignored) >= 0)
            put_sample(row, out);
        dw_json_free(row);
        from += n + 1;
    }
    dw_buf_finish(&file);
}

/* ---- the page ---- */

static void put_left(dw_arena *a, const char *run, const dw_plan *p, const history *h, dw_buf *out)
{
    const char *dir = NULL;
    uint64_t step = 0, done = (uint64_t)h->last_step;
    dw_err none;
    dw_buf_addc(out, '\n');
    if (dw_dir_exists(dw_path_join(a, run, "best")))
        dw_buf_printf(out, "best by evaluation: %s/best\n", run);
    if (dw_dir_exists(dw_path_join(a, run, "final"))) {
        dw_buf_printf(out, "finished: %s/final\n  next:  dowel generate %s/final\n", run, run);
        return;
    }
    bool found = dw_checkpoint_newest(a, run, &dir, &step, &none) >= 0;
    dw_buf_printf(out, "not finished: %" PRIu64 " of %" PRIu64 " steps are left", p->steps - done,
                  p->steps);
    if (done > 0 && p->steps > done)
        dw_buf_printf(out, ", about %.0f s", h->seconds / (double)done * (double)(p->steps - done));
    dw_buf_printf(out, "; newest checkpoint: %s\n  next:  dowel resume %s\n", found ? dir : "none",
                  dw_stages_whole(a, run));
}

static dw_status show(dw_arena *a, const char *run, const dw_plan *p, dw_buf *out, dw_err *err)
{
    history h = {0};
    dw_buf file = {0};
    const char *path = dw_path_join(a, run, "metrics.jsonl");
    if (dw_file_exists(path))
        DW_TRY(dw_file_read(path, SIZE_MAX / 2, &file, err));
    each_row(&file, &h);
    dw_buf_printf(out, "%s: step %.0f of %" PRIu64 ", %.0f tokens, %.0f s", p->name, h.last_step,
                  p->steps, h.num_tokens, h.seconds);
    if (h.skipped)
        dw_buf_printf(out, ", %" PRIu64 " steps left out", h.skipped);
    dw_buf_adds(out, "\n\n");
    for (size_t i = 0; i < h.n; i++)
        put_curve(&h.item[i], out);
    dw_buf table = {0};
    dw_eval_table(path, &table);
    if (table.len > 0)
        dw_buf_printf(out, "\n%s", table.ptr);
    dw_buf_finish(&table);
    put_samples(a, run, out);
    put_left(a, run, p, &h, out);
    free_history(&h);
    dw_buf_finish(&file);
    return DW_OK;
}

dw_status dw_run_show(const char *run, dw_buf *out, dw_err *err)
{
    dw_arena a = {0};
    dw_plan *p = NULL;
    const char *plan = dw_path_join(&a, run, "plan.json");
    dw_status st = DW_OK;
    if (!dw_file_exists(plan))
        st = dw_fail(err, DW_E_INPUT, "%s is not the folder of a run (no plan.json in it)", run);
    if (st >= 0)
        st = dw_plan_read(plan, &p, err);
    if (st >= 0)
        st = show(&a, run, p, out, err);
    dw_plan_free(p);
    dw_arena_finish(&a);
    return st;
}
