/* The model as others see it: what it is, its parameters, its identity, its end. */
#include "model/model.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "model/frozen.h"
#include "model/source.h"

static void unmap(const dw_model *m, void *p, size_t bytes)
{
    if (p && m->outline)
        munmap(p, bytes);
    else if (p)
        dw_tensor_unmap(p, bytes);
}

static void unmap_params(const dw_model *m, const dw_params *p)
{
    unmap(m, p->w, p->n * sizeof(dw_real));
    unmap(m, p->g, p->n * sizeof(dw_real));
}

void dw_model_free(dw_model *m)
{
    if (!m)
        return;
    dw_frozen_close(m->frozen);
    unmap_params(m, &m->base);
    unmap_params(m, &m->adapter);
    unmap(m, m->panel_mem, m->panel_bytes);
    dw_tokenizer_free(m->tokenizer);
    if (m->source) {
        dw_buf_finish(&m->source->config);
        dw_buf_finish(&m->source->tokenizer);
        dw_buf_finish(&m->source->tokenizer_config);
    }
    dw_arena_finish(&m->arena);
    dw_free(m);
}

size_t dw_model_bytes(const dw_model *m)
{
    size_t n = m->panel_bytes;
    n += m->base.n * sizeof(dw_real) * (m->base.g ? 2 : 1);
    n += m->adapter.n * sizeof(dw_real) * (m->adapter.g ? 2 : 1);
    return n;
}

const dw_description *dw_model_description(const dw_model *m)
{
    return &m->desc;
}

const dw_tokenizer *dw_model_tokenizer(const dw_model *m)
{
    return m->tokenizer;
}

const char *dw_model_dir(const dw_model *m)
{
    return m->dir;
}

bool dw_model_has_adapter(const dw_model *m)
{
    return m->has_adapter;
}

const dw_lora_spec *dw_model_lora(const dw_model *m)
{
    return m->has_adapter ? &m->lora : NULL;
}

dw_top dw_model_top(const dw_model *m)
{
    return m->desc.top;
}

uint32_t dw_model_score_width(const dw_model *m)
{
    return m->desc.score_width;
}

uint32_t dw_model_value_width(const dw_model *m)
{
    return m->desc.value_width;
}

dw_status dw_model_speaks(const dw_model *m, dw_err *err)
{
    if (m->desc.top == DW_TOP_LM)
        return DW_OK;
    return dw_fail(err, DW_E_USAGE,
                   "%s: a %s-classification model has no vocabulary head: no log-probabilities, no "
                   "generation",
                   m->dir ? m->dir : "the model",
                   m->desc.top == DW_TOP_SEQUENCE ? "sequence" : "token");
}

dw_params *dw_model_trained(dw_model *m)
{
    return m->has_adapter ? &m->adapter : &m->base;
}

const dw_params *dw_model_base(const dw_model *m)
{
    return &m->base;
}

static size_t count(const dw_params *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_weight; i++)
        n += (size_t)p->weight[i].rows * p->weight[i].cols;
    return n;
}

size_t dw_model_n_params(const dw_model *m)
{
    return count(&m->base);
}

size_t dw_model_n_adapter_params(const dw_model *m)
{
    return count(&m->adapter);
}

static void hash_values(void *ctx, const dw_real *v, size_t n)
{
    dw_sha256_add(ctx, v, n * sizeof *v);
}

static void hash_params(dw_sha256 *h, const dw_params *p)
{
    for (size_t i = 0; i < p->n_weight; i++) {
        const dw_weight *w = &p->weight[i];
        char head[128];
        int n = snprintf(head, sizeof head, "%s %u %u\n", w->name, w->rows, w->cols);
        dw_sha256_add(h, head, (size_t)n);
        if (w->mapped)
            dw_frozen_each(w->mapped, hash_values, h);
        else
            hash_values(h, p->w + w->offset, (size_t)w->rows * w->cols);
    }
}

/* One number where there is but one. */
static void hash_scales(dw_sha256 *h, const dw_model *m)
{
    const dw_lora_part all = {m->lora.rank, m->lora.alpha};
    double scale = (double)(dw_real)dw_lora_scale(&m->lora, all);
    dw_sha256_add(h, &scale, sizeof scale);
    for (uint32_t i = 0; m->lora.part && i < m->desc.layers; i++)
        for (int t = 0; t < DW_N_LORA_TARGET; t++) {
            const dw_lora_part p = dw_lora_at(&m->lora, i, t);
            scale = p.rank ? (double)(dw_real)dw_lora_scale(&m->lora, p) : 0;
            dw_sha256_add(h, &scale, sizeof scale);
        }
}

void dw_model_hash(const dw_model *m, char out[65])
{
    dw_assert(!m->outline);
    dw_sha256 *h = dw_sha256_create();
    hash_params(h, &m->base);
    if (m->has_adapter) {
        hash_scales(h, m);
        hash_params(h, &m->adapter);
    }
    dw_sha256_hex(h, out);
}

size_t dw_model_stops(const dw_model *m, const int32_t **id)
{
    *id = m->stop;
    return m->n_stop;
}
