/* Matrices of frozen models: mapped when a model is opened, checked and packed when first needed.
 */
#include "model/frozen.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/size.h"
#include "model/safetensors_internal.h"
#include "tensor/bf16.h"

enum { PANEL = 16, TASK_PANELS = 4 };

const char *const dw_storage_names[] = {"source", "float32", "bfloat16", NULL};

/* ---- what stays in the file ---- */

/* Matrices of products and the embedding. Positions and small heads are read like vectors. */
static bool stays(const dw_weight *w)
{
    static const char *const small[] = {"positions", "score", "value"};
    for (size_t i = 0; i < sizeof small / sizeof *small; i++)
        if (!strcmp(w->name, small[i]))
            return false;
    return w->decay && w->cols > 1;
}

static dw_status add_part(dw_frozen *f, const dw_slice *s, dw_err *err)
{
    dw_mapped *x = &f->mapped[s->weight];
    const dw_tensor_entry *e = dw_checkpoint_find(f->c, s->name);
    dw_assert(e && x->n_part < DW_MAPPED_PARTS && s->row0 == x->rows);
    DW_TRY(dw_tensor_readable(e, err));
    x->part[x->n_part] = *s;
    x->entry[x->n_part++] = e;
    x->rows += s->rows;
    x->cols = s->cols;
    return DW_OK;
}

static bool all_bf16(const dw_mapped *x)
{
    for (uint32_t i = 0; i < x->n_part; i++)
        if (x->entry[i]->dtype != DW_DT_BF16)
            return false;
    return true;
}

/* No bit is lost where the file has bf16 itself. Values of float16 do not all fit. */
static void choose_type(dw_mapped *x, dw_storage storage)
{
    const bool exact = all_bf16(x);
    x->type = storage == DW_STORE_BF16 || (storage == DW_STORE_SOURCE && exact) ? DW_PANEL_BF16
                                                                                : DW_PANEL_REAL;
    x->rounded = x->type == DW_PANEL_BF16 && !exact;
}

static void settle(dw_model *m, dw_frozen *f, dw_storage storage)
{
    dw_params *p = &m->base;
    p->n = 0;
    for (size_t i = 0; i < p->n_weight; i++) {
        dw_weight *w = &p->weight[i];
        if (f->mapped[i].n_part) {
            choose_type(&f->mapped[i], storage);
            w->mapped = &f->mapped[i];
            w->offset = SIZE_MAX;
            continue;
        }
        w->offset = p->n;
        p->n += dw_div_up((size_t)w->rows * w->cols, 16) * 16;
    }
}

dw_status dw_frozen_make(dw_model *m, dw_checkpoint *c, dw_storage storage, dw_err *err)
{
    dw_slice *slice = NULL;
    dw_frozen *f = dw_arena_alloc(&m->arena, sizeof *f);
    *f = (dw_frozen){.c = c};
    pthread_mutex_init(&f->lock, NULL);
    m->frozen = f;
    f->mapped = dw_arena_alloc(&m->arena, m->base.n_weight * sizeof *f->mapped);
    memset(f->mapped, 0, m->base.n_weight * sizeof *f->mapped);
    const size_t n = dw_weights_slices(&m->arena, &m->desc, &m->base, &slice);
    for (size_t i = 0; i < n; i++)
        if (stays(&m->base.weight[slice[i].weight]))
            DW_TRY(add_part(f, &slice[i], err));
    dw_mapped *embed = &f->mapped[0];
    if (!dw_tensor_by_rows(embed->entry[0]) || embed->part[0].transposed)
        embed->n_part = 0; /* looked up by rows, so it is read whole after all */
    settle(m, f, storage);
    return DW_OK;
}

void dw_frozen_close(dw_frozen *f)
{
    if (!f)
        return;
    dw_checkpoint_close(f->c);
    pthread_mutex_destroy(&f->lock);
}

/* ---- values ---- */

/* Rows of a matrix from its parts. What cannot be read by rows is read whole, for as long as the
 * reader is open. */
typedef struct reader {
    const dw_mapped *w;
    dw_real *whole[DW_MAPPED_PARTS];
} reader;

static void must(dw_status st)
{
    dw_assert(st == DW_OK); /* its type was checked when the model was opened */
}

static reader reader_open(const dw_mapped *w)
{
    dw_err err;
    reader r = {.w = w};
    for (uint32_t i = 0; i < w->n_part; i++) {
        const dw_slice *s = &w->part[i];
        if (dw_tensor_by_rows(w->entry[i]) && !s->transposed)
            continue;
        r.whole[i] = dw_alloc(((size_t)s->rows * s->cols + 1) * sizeof(dw_real));
        must(dw_slice_read(s, w->entry[i], r.whole[i], &err));
    }
    return r;
}

static void reader_close(reader *r)
{
    for (uint32_t i = 0; i < r->w->n_part; i++)
        dw_free(r->whole[i]);
}

static void reader_rows(const reader *r, size_t row, size_t n, dw_real *out)
{
    dw_err err;
    const size_t cols = r->w->cols;
    for (uint32_t i = 0; i < r->w->n_part && n; i++) {
        const dw_slice *s = &r->w->part[i];
        if (row >= (size_t)s->row0 + s->rows)
            continue;
        const size_t from = row - s->row0, some = dw_min_size(n, s->rows - from);
        if (r->whole[i])
            memcpy(out, r->whole[i] + from * cols, some * cols * sizeof *out);
        else
            must(dw_tensor_read_rows(r->w->entry[i], from, some, out, &err));
        out += some * cols;
        row += some;
        n -= some;
    }
}

static void round_values(const dw_mapped *w, dw_real *v, size_t n)
{
    for (size_t i = 0; i < n && w->rounded; i++)
        v[i] = (dw_real)dw_bf16_widen(dw_bf16_round((float)v[i]));
}

void dw_frozen_row(const dw_mapped *w, size_t row, dw_real *out)
{
    dw_err err;
    must(dw_tensor_read_rows(w->entry[0], row, 1, out, &err));
    round_values(w, out, w->cols);
}

void dw_frozen_each(const dw_mapped *w, dw_values_fn fn, void *ctx)
{
    reader r = reader_open(w);
    dw_real *v = dw_alloc((size_t)PANEL * w->cols * sizeof *v);
    for (size_t row = 0; row < w->rows; row += PANEL) {
        const size_t n = dw_min_size(PANEL, w->rows - row);
        reader_rows(&r, row, n, v);
        round_values(w, v, n * w->cols);
        fn(ctx, v, n * w->cols);
    }
    dw_free(v);
    reader_close(&r);
}

const dw_tensor_entry *dw_frozen_entry(const dw_mapped *w, const dw_slice *s)
{
    for (uint32_t i = 0; i < w->n_part; i++)
        if (w->part[i].row0 == s->row0)
            return w->entry[i];
    return NULL;
}

void dw_frozen_slice(const dw_mapped *w, const dw_slice *s, dw_real *out)
{
    dw_err err;
    must(dw_slice_read(s, dw_frozen_entry(w, s), out, &err));
}

/* ---- packing ---- */

typedef struct pack_job {
    const dw_mapped *w;
    const dw_panels *to; /* NULL: checked alone */
    reader r;
    atomic_size_t bad; /* first row with a value that is not finite; SIZE_MAX: none */
} pack_job;

static void note_bad(pack_job *j, size_t row)
{
    size_t now = atomic_load(&j->bad);
    while (row < now && !atomic_compare_exchange_weak(&j->bad, &now, row))
        ;
}

static void pack_task(void *ctx, size_t task, int thread)
{
    pack_job *j = ctx;
    const dw_mapped *w = j->w;
    dw_real *v = dw_alloc((size_t)PANEL * w->cols * sizeof *v);
    for (size_t p = task * TASK_PANELS; p < (task + 1) * TASK_PANELS && p * PANEL < w->rows; p++) {
        const size_t n = dw_min_size(PANEL, w->rows - p * PANEL);
        reader_rows(&j->r, p * PANEL, n, v);
        for (size_t row = 0; row < n; row++) {
            dw_real sum = 0;
            for (size_t c = 0; c < w->cols; c++)
                sum += v[row * w->cols + c] - v[row * w->cols + c]; /* 0, or NaN */
            if (sum != 0)
                note_bad(j, p * PANEL + row);
        }
        if (j->to)
            dw_panels_put(j->to, p, v, w->cols);
    }
    dw_free(v);
}

static dw_status refuse(const dw_model *m, const reader *r, size_t row, dw_err *err)
{
    const dw_mapped *w = r->w;
    uint32_t i = 0;
    size_t c = 0;
    dw_real *v = dw_alloc(w->cols * sizeof *v);
    reader_rows(r, row, 1, v);
    while (isfinite(v[c]))
        c++;
    while (row >= (size_t)w->part[i].row0 + w->part[i].rows)
        i++;
    row -= w->part[i].row0;
    dw_status st = dw_fail(err, DW_E_INPUT, "%s: tensor \"%s\" holds %g at element %zu", m->dir,
                           w->entry[i]->name, (double)v[c],
                           w->part[i].transposed ? c * w->part[i].rows + row : row * w->cols + c);
    dw_free(v);
    return st;
}

static dw_status read_matrix(const dw_model *m, const dw_mapped *w, const dw_panels *to,
                             dw_err *err)
{
    pack_job j = {.w = w, .to = to};
    atomic_init(&j.bad, SIZE_MAX);
    for (uint32_t i = 0; i < w->n_part; i++)
        dw_tensor_advise(w->entry[i], true);
    j.r = reader_open(w);
    dw_pool_run(m->x->pool, dw_div_up(w->rows, (size_t)TASK_PANELS * PANEL), pack_task, &j);
    const size_t bad = atomic_load(&j.bad);
    dw_status st = bad == SIZE_MAX ? DW_OK : refuse(m, &j.r, bad, err);
    reader_close(&j.r);
    for (uint32_t i = 0; i < w->n_part; i++)
        dw_tensor_advise(w->entry[i], false);
    return st;
}

dw_status dw_frozen_need(const dw_model *m, const dw_matrix *x, dw_err *err)
{
    dw_status st = DW_OK;
    dw_mapped *w = x->mapped;
    if (!w || atomic_load_explicit(&w->ready, memory_order_acquire))
        return DW_OK;
    pthread_mutex_lock(&m->frozen->lock);
    if (!atomic_load_explicit(&w->ready, memory_order_relaxed)) {
        st = read_matrix(m, w, x->panels.data ? &x->panels : NULL, err);
        if (st == DW_OK)
            atomic_store_explicit(&w->ready, true, memory_order_release);
    }
    pthread_mutex_unlock(&m->frozen->lock);
    return st;
}

dw_status dw_frozen_need_layer(const dw_model *m, uint32_t layer, dw_err *err)
{
    const dw_layer *l = &m->layer[layer];
    if (!m->frozen)
        return DW_OK;
    DW_TRY(dw_frozen_need(m, &l->qkv, err));
    DW_TRY(dw_frozen_need(m, &l->o, err));
    DW_TRY(dw_frozen_need(m, &l->gate_up, err));
    return dw_frozen_need(m, &l->down, err);
}

dw_status dw_frozen_need_all(const dw_model *m, dw_err *err)
{
    DW_TRY(dw_frozen_need(m, &m->embed, err));
    for (uint32_t i = 0; i < m->desc.layers; i++)
        DW_TRY(dw_frozen_need_layer(m, i, err));
    return dw_frozen_need(m, &m->head, err);
}

dw_status dw_frozen_check(const dw_model *m, dw_err *err)
{
    for (size_t i = 0; m->frozen && i < m->base.n_weight; i++) {
        const dw_mapped *w = m->base.weight[i].mapped;
        if (w && !atomic_load_explicit(&w->ready, memory_order_acquire))
            DW_TRY(read_matrix(m, w, NULL, err));
    }
    return DW_OK;
}
