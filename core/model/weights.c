/* Lays the parameters of a description, and of adapters on it, out in one arena. */
#include "model/weights.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"

const dw_lora_target dw_lora_targets[DW_N_LORA_TARGET] = {
    {DW_LORA_Q, DW_SITE_QKV, "q"},
    {DW_LORA_K, DW_SITE_QKV, "k"},
    {DW_LORA_V, DW_SITE_QKV, "v"},
    {DW_LORA_O, DW_SITE_O, "o"},
    {DW_LORA_GATE, DW_SITE_GATE_UP, "gate"},
    {DW_LORA_UP, DW_SITE_GATE_UP, "up"},
    {DW_LORA_DOWN, DW_SITE_DOWN, "down"},
    {DW_LORA_QKV, DW_SITE_QKV, "qkv"},
    {DW_LORA_GATE_UP, DW_SITE_GATE_UP, "gate_up"},
};

dw_target_shape dw_lora_target_shape(const dw_description *d, uint32_t bit)
{
    uint32_t q = d->heads * d->head_dim, kv = d->kv_heads * d->head_dim;
    switch (bit) {
    case DW_LORA_Q:
        return (dw_target_shape){q, d->d, 0};
    case DW_LORA_K:
        return (dw_target_shape){kv, d->d, q};
    case DW_LORA_V:
        return (dw_target_shape){kv, d->d, q + kv};
    case DW_LORA_O:
        return (dw_target_shape){d->d, q, 0};
    case DW_LORA_GATE:
        return (dw_target_shape){d->ffn, d->d, 0};
    case DW_LORA_UP:
        return (dw_target_shape){d->ffn, d->d, d->gated ? d->ffn : 0};
    case DW_LORA_QKV:
        return (dw_target_shape){q + 2 * kv, d->d, 0};
    case DW_LORA_GATE_UP:
        return (dw_target_shape){2 * d->ffn, d->d, 0};
    default:
        return (dw_target_shape){d->d, d->ffn, 0};
    }
}

dw_lora_part dw_lora_at(const dw_lora_spec *s, uint32_t layer, int t)
{
    if (!(s->targets & dw_lora_targets[t].bit))
        return (dw_lora_part){0};
    if (s->part)
        return s->part[(size_t)layer * DW_N_LORA_TARGET + (size_t)t];
    return (dw_lora_part){s->rank, s->alpha};
}

double dw_lora_scale(const dw_lora_spec *s, dw_lora_part p)
{
    return p.alpha / (s->rslora ? sqrt((double)p.rank) : (double)p.rank);
}

uint32_t dw_lora_family(const dw_description *d)
{
    uint32_t all = 0;
    for (int t = 0; t < DW_N_LORA_TARGET; t++)
        if (dw_lora_path(d, dw_lora_targets[t].bit))
            all |= dw_lora_targets[t].bit;
    return d->gated ? all : all & ~(uint32_t)DW_LORA_GATE;
}

static dw_status no_target(const dw_description *d, uint32_t wrong, uint32_t family, dw_err *err)
{
    dw_buf b = {0};
    const char *name = "";
    for (int t = 0; t < DW_N_LORA_TARGET; t++) {
        if (wrong & dw_lora_targets[t].bit && !*name)
            name = dw_lora_targets[t].name;
        if (family & dw_lora_targets[t].bit)
            dw_buf_printf(&b, "%s%s", b.len ? ", " : "", dw_lora_targets[t].name);
    }
    dw_status st = dw_fail(err, DW_E_INPUT, "lora: %s has no matrix '%s' (there are %s)", d->family,
                           name, b.ptr);
    dw_buf_finish(&b);
    return st;
}

dw_status dw_lora_fit(const dw_description *d, uint32_t *targets, dw_err *err)
{
    static const uint32_t fused[][2] = {{DW_LORA_Q | DW_LORA_K | DW_LORA_V, DW_LORA_QKV},
                                        {DW_LORA_GATE | DW_LORA_UP, DW_LORA_GATE_UP}};
    const uint32_t family = dw_lora_family(d), known = (1u << DW_N_LORA_TARGET) - 1;
    uint32_t t = *targets;
    if (!t || t & ~known)
        return dw_fail(err, DW_E_INPUT, "lora: no known target");
    if (t == DW_LORA_ALL)
        t = family;
    for (int i = 0; i < 2; i++)
        if (family & fused[i][1] && (t & fused[i][0]) == fused[i][0])
            t = (t & ~fused[i][0]) | fused[i][1];
    if (t & ~family)
        return no_target(d, t & ~family, family, err);
    *targets = t;
    return DW_OK;
}

/* ---- layout ---- */

typedef struct layout {
    dw_arena *arena;
    dw_params *p;
    size_t cap;
    bool overflow;
} layout;

static void place(layout *l, const char *name, uint64_t rows, uint64_t cols, bool decay)
{
    uint64_t n = 0, end = 0;
    if (rows > UINT32_MAX || cols > UINT32_MAX || __builtin_mul_overflow(rows, cols, &n) ||
        n > SIZE_MAX / 64 || __builtin_add_overflow((uint64_t)l->p->n, (n + 15) / 16 * 16, &end) ||
        end > SIZE_MAX / 64) {
        l->overflow = true;
        return;
    }
    dw_params *p = l->p;
    DW_GROW(p->weight, p->n_weight, l->cap);
    p->weight[p->n_weight++] = (dw_weight){name, p->n, (uint32_t)rows, (uint32_t)cols, decay, NULL};
    p->n = (size_t)end;
}

static void place_layer(layout *l, const dw_description *d, uint32_t i)
{
    uint64_t q = (uint64_t)d->heads * d->head_dim, kv = (uint64_t)d->kv_heads * d->head_dim;
    uint64_t qkv = q + 2 * kv, up = (uint64_t)d->ffn * (d->gated ? 2 : 1);
    const struct {
        const char *name;
        uint64_t rows, cols;
        bool matrix, present;
    } rows[] = {
        {"attn_norm", d->d, 1, false, true},
        {"attn_norm_bias", d->d, 1, false, d->layer_norm},
        {"qkv", qkv, d->d, true, true},
        {"qkv_bias", qkv, 1, false, d->qkv_bias},
        {"q_norm", d->head_dim, 1, false, d->qk_norm},
        {"k_norm", d->head_dim, 1, false, d->qk_norm},
        {"o", d->d, q, true, true},
        {"o_bias", d->d, 1, false, d->o_bias},
        {"post_attn_norm", d->d, 1, false, d->norm_place == DW_NORM_PRE_POST},
        {"ffn_norm", d->d, 1, false, true},
        {"ffn_norm_bias", d->d, 1, false, d->layer_norm},
        {"gate_up", up, d->d, true, true},
        {"gate_up_bias", up, 1, false, d->mlp_bias},
        {"down", d->d, d->ffn, true, true},
        {"down_bias", d->d, 1, false, d->mlp_bias},
        {"post_ffn_norm", d->d, 1, false, d->norm_place == DW_NORM_PRE_POST},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
        if (rows[k].present)
            place(l, dw_arena_printf(l->arena, "layers.%u.%s", i, rows[k].name), rows[k].rows,
                  rows[k].cols, rows[k].matrix);
}

/* Moves the weights into the arena, so that a dw_params owns nothing by itself. */
static dw_status settle(layout *l, dw_err *err)
{
    dw_params *p = l->p;
    dw_weight *w = dw_arena_alloc(l->arena, p->n_weight * sizeof *w + 1);
    if (p->n_weight)
        memcpy(w, p->weight, p->n_weight * sizeof *w);
    dw_free(p->weight);
    p->weight = w;
    return l->overflow ? dw_fail(err, DW_E_INPUT, "the number of parameters overflows") : DW_OK;
}

/* Score and value head; the base has them, and an adapter its own copy. */
static void place_heads(layout *l, const dw_description *d)
{
    if (d->score_width)
        place(l, "score", d->score_width, d->d, true);
    if (d->score_width && d->score_bias)
        place(l, "score_bias", d->score_width, 1, false);
    if (d->value_width) {
        place(l, "value", d->value_width, d->d, true);
        place(l, "value_bias", d->value_width, 1, false);
    }
}

dw_status dw_weights_base(dw_arena *a, const dw_description *d, dw_params *p, dw_err *err)
{
    *p = (dw_params){0};
    layout l = {a, p, 0, false};
    place(&l, "embed", d->vocab, d->d, true);
    if (d->learned_positions)
        place(&l, "positions", d->max_positions, d->d, true);
    for (uint32_t i = 0; i < d->layers; i++)
        place_layer(&l, d, i);
    place(&l, "final_norm", d->d, 1, false);
    if (d->layer_norm)
        place(&l, "final_norm_bias", d->d, 1, false);
    if (!d->tied && d->top == DW_TOP_LM)
        place(&l, "head", d->vocab, d->d, true);
    if (d->head_bias && d->top == DW_TOP_LM)
        place(&l, "head_bias", d->vocab, 1, false);
    place_heads(&l, d);
    return settle(&l, err);
}

static const char *const site_names[DW_N_SITE] = {"qkv", "o", "gate_up", "down"};

dw_status dw_weights_adapter(dw_arena *a, const dw_description *d, const dw_lora_spec *s,
                             dw_params *p, dw_err *err)
{
    *p = (dw_params){0};
    layout l = {a, p, 0, false};
    for (uint32_t i = 0; i < d->layers; i++) {
        for (int site = 0; site < DW_N_SITE; site++) {
            uint64_t n = 0, in = 0;
            for (int t = 0; t < DW_N_LORA_TARGET; t++)
                if (dw_lora_targets[t].site == (dw_site)site && dw_lora_at(s, i, t).rank) {
                    n += dw_lora_at(s, i, t).rank;
                    in = dw_lora_target_shape(d, dw_lora_targets[t].bit).in;
                }
            if (n)
                place(&l, dw_arena_printf(a, "layers.%u.lora_a.%s", i, site_names[site]), n, in,
                      true);
        }
        for (int t = 0; t < DW_N_LORA_TARGET; t++)
            if (dw_lora_at(s, i, t).rank)
                place(&l, dw_arena_printf(a, "layers.%u.lora_b.%s", i, dw_lora_targets[t].name),
                      dw_lora_target_shape(d, dw_lora_targets[t].bit).out, dw_lora_at(s, i, t).rank,
                      true);
    }
    place_heads(&l, d);
    return settle(&l, err);
}

ptrdiff_t dw_params_find(const dw_params *p, const char *name)
{
    for (size_t i = 0; i < p->n_weight; i++)
        if (!strcmp(p->weight[i].name, name))
            return (ptrdiff_t)i;
    return -1;
}
