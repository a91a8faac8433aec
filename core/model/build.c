/* Builds a model in memory from its description: lays out and maps the arenas, wires the layers,
 * packs panels, and fills random weights. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/rng.h"
#include "model/config.h"
#include "model/frozen.h"
#include "model/weights.h"

static size_t align64(size_t n)
{
    return (n + 63) / 64 * 64;
}

static dw_vector vector(const dw_params *p, const char *name)
{
    ptrdiff_t i = dw_params_find(p, name);
    if (i < 0)
        return (dw_vector){0};
    size_t at = p->weight[i].offset;
    return (dw_vector){p->w ? p->w + at : NULL, p->g ? p->g + at : NULL, p->weight[i].rows};
}

static dw_matrix matrix(const dw_params *p, const char *name)
{
    ptrdiff_t i = dw_params_find(p, name);
    if (i < 0)
        return (dw_matrix){0};
    size_t at = p->weight[i].offset;
    const bool here = !p->weight[i].mapped;
    return (dw_matrix){.w = p->w && here ? p->w + at : NULL,
                       .g = p->g ? p->g + at : NULL,
                       .rows = p->weight[i].rows,
                       .cols = p->weight[i].cols,
                       .mapped = p->weight[i].mapped};
}

static void wire_lora(dw_model *m, uint32_t i)
{
    static const char *const sites[DW_N_SITE] = {"qkv", "o", "gate_up", "down"};
    for (int t = 0; t < DW_N_LORA_TARGET; t++) {
        const dw_lora_target *x = &dw_lora_targets[t];
        const dw_lora_part part = dw_lora_at(&m->lora, i, t);
        if (!part.rank)
            continue;
        char name[64];
        dw_lora_site *s = &m->layer[i].lora[x->site];
        const uint32_t k = s->n_target;
        s->row0[k] = k ? s->row0[k - 1] + s->rank[k - 1] : 0;
        s->rank[k] = part.rank;
        s->scale[k] = (dw_real)dw_lora_scale(&m->lora, part);
        snprintf(name, sizeof name, "layers.%u.lora_b.%s", i, x->name);
        s->target[s->n_target] = x->bit;
        s->out0[s->n_target] = dw_lora_target_shape(&m->desc, x->bit).out0;
        s->b[s->n_target++] = matrix(&m->adapter, name);
        snprintf(name, sizeof name, "layers.%u.lora_a.%s", i, sites[x->site]);
        s->a = matrix(&m->adapter, name);
    }
}

static void wire_layer(dw_model *m, uint32_t i)
{
    dw_layer *l = &m->layer[i];
    const struct {
        dw_vector *to;
        const char *name;
    } vectors[] = {{&l->attn_norm, "attn_norm"},
                   {&l->attn_norm_bias, "attn_norm_bias"},
                   {&l->qkv_bias, "qkv_bias"},
                   {&l->q_norm, "q_norm"},
                   {&l->k_norm, "k_norm"},
                   {&l->o_bias, "o_bias"},
                   {&l->post_attn_norm, "post_attn_norm"},
                   {&l->ffn_norm, "ffn_norm"},
                   {&l->ffn_norm_bias, "ffn_norm_bias"},
                   {&l->gate_up_bias, "gate_up_bias"},
                   {&l->down_bias, "down_bias"},
                   {&l->post_ffn_norm, "post_ffn_norm"}};
    const struct {
        dw_matrix *to;
        const char *name;
    } matrices[] = {{&l->qkv, "qkv"}, {&l->o, "o"}, {&l->gate_up, "gate_up"}, {&l->down, "down"}};
    char name[64];
    for (size_t k = 0; k < sizeof vectors / sizeof *vectors; k++) {
        snprintf(name, sizeof name, "layers.%u.%s", i, vectors[k].name);
        *vectors[k].to = vector(&m->base, name);
    }
    for (size_t k = 0; k < sizeof matrices / sizeof *matrices; k++) {
        snprintf(name, sizeof name, "layers.%u.%s", i, matrices[k].name);
        *matrices[k].to = matrix(&m->base, name);
    }
    if (m->has_adapter)
        wire_lora(m, i);
}

/* Calls fn for every matrix that a forward product uses; base or adapter. */
typedef void (*each_fn)(dw_model *m, dw_matrix *x, void *ctx);
static void each_base(dw_model *m, each_fn fn, void *ctx)
{
    for (uint32_t i = 0; i < m->desc.layers; i++) {
        dw_layer *l = &m->layer[i];
        fn(m, &l->qkv, ctx);
        fn(m, &l->o, ctx);
        fn(m, &l->gate_up, ctx);
        fn(m, &l->down, ctx);
    }
    if (m->desc.top == DW_TOP_LM)
        fn(m, m->desc.tied ? &m->embed : &m->head, ctx);
}

static void each_adapter(dw_model *m, each_fn fn, void *ctx)
{
    for (uint32_t i = 0; i < m->desc.layers; i++)
        for (int s = 0; s < DW_N_SITE; s++) {
            dw_lora_site *x = &m->layer[i].lora[s];
            if (!x->n_target)
                continue;
            fn(m, &x->a, ctx);
            for (uint32_t t = 0; t < x->n_target; t++)
                fn(m, &x->b[t], ctx);
        }
}

static void count_panels(dw_model *m, dw_matrix *x, void *ctx)
{
    size_t *at = ctx;
    const dw_panel_type type = x->mapped ? x->mapped->type : DW_PANEL_REAL;
    x->panels = (dw_panels){.n_out = x->rows, .k = x->cols, .type = type, .rows = x->w};
    *at += align64(dw_panels_bytes(x->rows, x->cols, type));
}

static void place_panels(dw_model *m, dw_matrix *x, void *ctx)
{
    size_t *at = ctx;
    x->panels.data = (char *)m->panel_mem + *at;
    *at += align64(dw_panels_bytes(x->rows, x->cols, x->panels.type));
}

static void pack_panels(dw_model *m, dw_matrix *x, void *ctx)
{
    if (x->mapped)
        return; /* packed when needed */
    dw_panels_pack(m->x, &x->panels, x->w, x->cols);
}

static void wire_small(const dw_params *p, dw_small_head *score, dw_small_head *value)
{
    *score = (dw_small_head){matrix(p, "score"), vector(p, "score_bias")};
    *value = (dw_small_head){matrix(p, "value"), vector(p, "value_bias")};
}

static void wire(dw_model *m)
{
    m->embed = matrix(&m->base, "embed");
    m->positions = matrix(&m->base, "positions");
    m->final_norm = vector(&m->base, "final_norm");
    m->final_norm_bias = vector(&m->base, "final_norm_bias");
    m->head = matrix(&m->base, "head");
    m->head_bias = vector(&m->base, "head_bias");
    wire_small(&m->base, &m->score, &m->value);
    if (m->has_adapter)
        wire_small(&m->adapter, &m->adapter_score, &m->adapter_value);
    for (uint32_t i = 0; i < m->desc.layers; i++)
        wire_layer(m, i);
}

static double gib(size_t bytes)
{
    return (double)bytes / 1073741824.0;
}

static void *map(const dw_model *m, size_t bytes, bool later)
{
    if (!m->outline)
        return later ? dw_tensor_reserve(bytes) : dw_tensor_map(bytes);
    void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static dw_status check_memory(const dw_model *m, size_t weights, size_t grads, dw_err *err)
{
    size_t total = weights + grads + m->panel_bytes;
    long free_kib = dw_mem_available_kib();
    if (m->outline || free_kib < 0 || total / 1024 <= (size_t)free_kib)
        return DW_OK;
    return dw_fail(err, DW_E_LIMIT,
                   "the model needs %.2f GiB (weights %.2f, gradients %.2f, packed copy %.2f), "
                   "%.2f GiB are free",
                   gib(total), gib(weights), gib(grads), gib(m->panel_bytes),
                   gib((size_t)free_kib * 1024));
}

/* Maps everything; says what it would take when there is not enough. */
static dw_status map_all(dw_model *m, dw_err *err)
{
    wire(m);
    each_base(m, count_panels, &m->panel_bytes);
    if (m->has_adapter)
        each_adapter(m, count_panels, &m->panel_bytes);
    size_t base = m->base.n * sizeof(dw_real), adapter = m->adapter.n * sizeof(dw_real);
    bool base_grad = m->trainable && !m->has_adapter;
    size_t grads = base_grad ? base : m->trainable ? adapter : 0;
    DW_TRY(check_memory(m, base + adapter, grads, err));
    m->base.w = map(m, base, false);
    m->base.g = base_grad ? map(m, base, false) : NULL;
    m->panel_mem = map(m, m->panel_bytes, m->frozen != NULL);
    bool ok = m->base.w && m->panel_mem && (!base_grad || m->base.g);
    if (ok && m->has_adapter) {
        m->adapter.w = map(m, adapter, false);
        m->adapter.g = m->trainable ? map(m, adapter, false) : NULL;
        ok = m->adapter.w && (!m->trainable || m->adapter.g);
    }
    if (!ok)
        return dw_fail(err, DW_E_LIMIT, "out of memory: the model needs %.2f GiB",
                       gib(base + adapter + grads + m->panel_bytes));
    return DW_OK;
}

static dw_status check_lora(const dw_lora_spec *s, dw_err *err)
{
    if (s->rank < 1 || s->rank > 4096)
        return dw_fail(err, DW_E_INPUT, "lora: rank %u is outside 1 .. 4096", s->rank);
    if (!(s->alpha > 0) || !isfinite(s->alpha))
        return dw_fail(err, DW_E_INPUT, "lora: alpha %g is not above 0", s->alpha);
    return DW_OK;
}

/* Frequencies for all layers, and for those with a window where they have their own. */
static void wire_rotary(dw_model *m)
{
    const dw_description *d = &m->desc;
    double *all = NULL, *local = NULL;
    m->n_freq = dw_config_turned(d) / 2;
    all = dw_arena_alloc(&m->arena, m->n_freq * sizeof *all);
    dw_config_inv_freq(d, false, all);
    if (d->local_theta) {
        local = dw_arena_alloc(&m->arena, m->n_freq * sizeof *local);
        dw_config_inv_freq(d, true, local);
    }
    for (uint32_t i = 0; i < d->layers; i++) {
        const bool own = local && d->window[i];
        m->layer[i].inv_freq = own ? local : all;
        m->layer[i].magnitude = !own && d->rope_magnitude ? d->rope_magnitude : 1;
    }
}

/* The caller's table may go. */
static void keep_parts(dw_model *m)
{
    const size_t n = (size_t)m->desc.layers * DW_N_LORA_TARGET;
    dw_lora_part *own = dw_arena_alloc(&m->arena, n * sizeof *own);
    memcpy(own, m->lora.part, n * sizeof *own);
    m->lora.part = own;
}

static dw_status build(dw_model *m, const dw_model_options *o, dw_checkpoint *c, dw_err *err)
{
    DW_TRY(dw_weights_base(&m->arena, &m->desc, &m->base, err));
    if (c)
        DW_TRY(dw_frozen_make(m, c, o->storage, err));
    if (o->lora) {
        DW_TRY(check_lora(o->lora, err));
        m->has_adapter = true;
        m->lora = *o->lora;
        DW_TRY(dw_lora_fit(&m->desc, &m->lora.targets, err));
        if (m->lora.part)
            keep_parts(m);
        DW_TRY(dw_weights_adapter(&m->arena, &m->desc, &m->lora, &m->adapter, err));
    }
    m->layer = dw_arena_alloc(&m->arena, m->desc.layers * sizeof *m->layer);
    DW_TRY(map_all(m, err));
    memset(m->layer, 0, m->desc.layers * sizeof *m->layer);
    wire(m); /* again, now that the arenas have addresses */
    size_t at = 0;
    each_base(m, count_panels, &at);
    if (m->has_adapter)
        each_adapter(m, count_panels, &at);
    at = 0;
    each_base(m, place_panels, &at);
    if (m->has_adapter)
        each_adapter(m, place_panels, &at);
    if (m->desc.tied && m->desc.top == DW_TOP_LM)
        m->head = m->embed;
    if (m->desc.rope != DW_ROPE_NONE)
        wire_rotary(m);
    return DW_OK;
}

dw_status dw_model_build_from(const dw_exec *x, const dw_description *d, const dw_model_options *o,
                              dw_checkpoint *c, bool outline, dw_model **out, dw_err *err)
{
    dw_model *m = dw_zalloc(1, sizeof *m);
    m->x = x;
    m->desc = *d;
    m->trainable = o->trainable;
    m->outline = outline;
    *out = NULL;
    dw_status st = build(m, o, c, err);
    if (st < 0) {
        if (m->frozen)
            m->frozen->c = NULL; /* the caller's still */
        dw_model_free(m);
    } else {
        *out = m;
    }
    return st;
}

dw_status dw_model_build(const dw_exec *x, const dw_description *d, const dw_model_options *o,
                         dw_model **out, dw_err *err)
{
    return dw_model_build_from(x, d, o, NULL, false, out, err);
}

void dw_model_changed(dw_model *m)
{
    if (m->version == 0 || !m->has_adapter)
        each_base(m, pack_panels, NULL);
    if (m->has_adapter)
        each_adapter(m, pack_panels, NULL);
    m->version++;
}

void dw_model_fill(dw_model *m, uint64_t seed, double std)
{
    for (size_t i = 0; i < m->base.n_weight; i++) {
        const dw_weight *w = &m->base.weight[i];
        size_t n = (size_t)w->rows * w->cols, len = strlen(w->name);
        dw_real *v = m->base.w + w->offset;
        bool norm = len > 4 && !strcmp(w->name + len - 4, "norm");
        bool normal = w->decay && strcmp(w->name, "value") != 0;
        for (size_t k = 0; k < n; k++) {
            if (normal)
                v[k] = (dw_real)(std * dw_random_normal(seed, DW_RNG_INIT, i, k));
            else
                v[k] = norm && !m->desc.norm_unit_offset ? 1 : 0;
        }
    }
}

void dw_model_fill_score(dw_model *m, uint64_t seed, double std)
{
    ptrdiff_t at = dw_params_find(&m->base, "score");
    const dw_small_head *h = &m->score;
    for (size_t k = 0; k < (size_t)h->w.rows * h->w.cols; k++)
        h->w.w[k] = (dw_real)(std * dw_random_normal(seed, DW_RNG_INIT, (uint64_t)at, k));
    for (size_t k = 0; k < h->bias.n; k++)
        h->bias.w[k] = 0;
}

void dw_model_fill_adapter(dw_model *m, uint64_t seed)
{
    for (size_t i = 0; i < m->adapter.n_weight; i++) {
        const dw_weight *w = &m->adapter.weight[i];
        dw_real *v = m->adapter.w + w->offset;
        ptrdiff_t head = dw_params_find(&m->base, w->name); /* no name of the adapter but these */
        if (head >= 0) {
            memcpy(v, m->base.w + m->base.weight[head].offset,
                   (size_t)w->rows * w->cols * sizeof *v);
            continue;
        }
        bool a = strstr(w->name, "lora_a") != NULL;
        double bound = 1.0 / sqrt((double)w->cols);
        for (size_t k = 0; k < (size_t)w->rows * w->cols; k++)
            v[k] = a ? (dw_real)(bound * (2 * dw_random_unit(seed, DW_RNG_LORA, i, k) - 1)) : 0;
    }
}
