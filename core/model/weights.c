/* Lays the parameters out in one arena and maps them to the names of Hugging Face and PEFT. */
#include "model/weights.h"

#include <string.h>

#include "base/alloc.h"

const dw_lora_target dw_lora_targets[DW_N_LORA_TARGET] = {
    {DW_LORA_Q, DW_SITE_QKV, "q", "q_proj", "self_attn.q_proj"},
    {DW_LORA_K, DW_SITE_QKV, "k", "k_proj", "self_attn.k_proj"},
    {DW_LORA_V, DW_SITE_QKV, "v", "v_proj", "self_attn.v_proj"},
    {DW_LORA_O, DW_SITE_O, "o", "o_proj", "self_attn.o_proj"},
    {DW_LORA_GATE, DW_SITE_GATE_UP, "gate", "gate_proj", "mlp.gate_proj"},
    {DW_LORA_UP, DW_SITE_GATE_UP, "up", "up_proj", "mlp.up_proj"},
    {DW_LORA_DOWN, DW_SITE_DOWN, "down", "down_proj", "mlp.down_proj"},
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
    default:
        return (dw_target_shape){d->d, d->ffn, 0};
    }
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
    p->weight[p->n_weight++] = (dw_weight){name, p->n, (uint32_t)rows, (uint32_t)cols, decay};
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
                if (dw_lora_targets[t].site == (dw_site)site &&
                    (s->targets & dw_lora_targets[t].bit)) {
                    n++;
                    in = dw_lora_target_shape(d, dw_lora_targets[t].bit).in;
                }
            if (n)
                place(&l, dw_arena_printf(a, "layers.%u.lora_a.%s", i, site_names[site]),
                      n * s->rank, in, true);
        }
        for (int t = 0; t < DW_N_LORA_TARGET; t++)
            if (s->targets & dw_lora_targets[t].bit)
                place(&l, dw_arena_printf(a, "layers.%u.lora_b.%s", i, dw_lora_targets[t].name),
                      dw_lora_target_shape(d, dw_lora_targets[t].bit).out, s->rank, true);
    }
    place_heads(&l, d);
    return settle(&l, err);
}

/* ---- names ---- */

typedef struct part {
    const char *weight; /* within the layer, or whole */
    const char *name;   /* of Hugging Face */
    uint32_t row0, rows;
} part;

typedef struct slices {
    dw_arena *arena;
    const dw_params *p;
    dw_slice *list;
    size_t n, cap;
} slices;

static void add_slice(slices *s, const char *weight, const char *name, uint32_t row0, uint32_t rows)
{
    ptrdiff_t w = dw_params_find(s->p, weight);
    if (w < 0)
        return;
    const dw_weight *x = &s->p->weight[w];
    size_t n = strlen(name);
    bool vector = (n > 5 && !strcmp(name + n - 5, ".bias")) || strstr(name, "norm.weight");
    DW_GROW(s->list, s->n, s->cap);
    s->list[s->n++] =
        (dw_slice){name, (uint32_t)w, row0, rows ? rows : x->rows, x->cols, vector ? 1 : 2};
}

static void add_layer(slices *s, const dw_description *d, uint32_t i)
{
    uint32_t q = d->heads * d->head_dim, kv = d->kv_heads * d->head_dim, f = d->ffn;
    const part parts[] = {
        {"qkv", "self_attn.q_proj.weight", 0, q},
        {"qkv_bias", "self_attn.q_proj.bias", 0, q},
        {"qkv", "self_attn.k_proj.weight", q, kv},
        {"qkv_bias", "self_attn.k_proj.bias", q, kv},
        {"qkv", "self_attn.v_proj.weight", q + kv, kv},
        {"qkv_bias", "self_attn.v_proj.bias", q + kv, kv},
        {"o", "self_attn.o_proj.weight", 0, 0},
        {"o_bias", "self_attn.o_proj.bias", 0, 0},
        {"q_norm", "self_attn.q_norm.weight", 0, 0},
        {"k_norm", "self_attn.k_norm.weight", 0, 0},
        {"gate_up", "mlp.gate_proj.weight", 0, f},
        {"gate_up_bias", "mlp.gate_proj.bias", 0, f},
        {"gate_up", "mlp.up_proj.weight", f, f},
        {"gate_up_bias", "mlp.up_proj.bias", f, f},
        {"down", "mlp.down_proj.weight", 0, 0},
        {"down_bias", "mlp.down_proj.bias", 0, 0},
        {"attn_norm", "input_layernorm.weight", 0, 0},
        {"ffn_norm", "post_attention_layernorm.weight", 0, 0},
    };
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++)
        add_slice(s, dw_arena_printf(s->arena, "layers.%u.%s", i, parts[k].weight),
                  dw_arena_printf(s->arena, "model.layers.%u.%s", i, parts[k].name), parts[k].row0,
                  parts[k].rows);
}

static size_t finish(slices *s, dw_slice **out)
{
    *out = dw_arena_alloc(s->arena, s->n * sizeof **out + 1);
    if (s->n)
        memcpy(*out, s->list, s->n * sizeof **out);
    dw_free(s->list);
    return s->n;
}

size_t dw_weights_slices(dw_arena *a, const dw_description *d, const dw_params *p, dw_slice **out)
{
    slices s = {.arena = a, .p = p};
    add_slice(&s, "embed", "model.embed_tokens.weight", 0, 0);
    for (uint32_t i = 0; i < d->layers; i++)
        add_layer(&s, d, i);
    add_slice(&s, "final_norm", "model.norm.weight", 0, 0);
    add_slice(&s, "head", "lm_head.weight", 0, 0);
    add_slice(&s, "score", "score.weight", 0, 0);
    add_slice(&s, "score_bias", "score.bias", 0, 0);
    return finish(&s, out);
}

size_t dw_weights_adapter_slices(dw_arena *a, const dw_description *d, const dw_lora_spec *spec,
                                 const dw_params *p, dw_slice **out)
{
    slices s = {.arena = a, .p = p};
    for (uint32_t i = 0; i < d->layers; i++) {
        uint32_t nth[DW_N_SITE] = {0};
        for (int t = 0; t < DW_N_LORA_TARGET; t++) {
            const dw_lora_target *x = &dw_lora_targets[t];
            if (!(spec->targets & x->bit))
                continue;
            add_slice(
                &s, dw_arena_printf(a, "layers.%u.lora_a.%s", i, site_names[x->site]),
                dw_arena_printf(a, "base_model.model.model.layers.%u.%s.lora_A.weight", i, x->path),
                nth[x->site]++ * spec->rank, spec->rank);
            add_slice(
                &s, dw_arena_printf(a, "layers.%u.lora_b.%s", i, x->name),
                dw_arena_printf(a, "base_model.model.model.layers.%u.%s.lora_B.weight", i, x->path),
                0, 0);
        }
    }
    add_slice(&s, "score", "base_model.model.score.weight", 0, 0);
    add_slice(&s, "score_bias", "base_model.model.score.bias", 0, 0);
    return finish(&s, out);
}

size_t dw_weights_value_slices(dw_arena *a, const dw_params *p, dw_slice **out)
{
    slices s = {.arena = a, .p = p};
    add_slice(&s, "value", "value_head.weight", 0, 0);
    add_slice(&s, "value_bias", "value_head.bias", 0, 0);
    return finish(&s, out);
}

ptrdiff_t dw_params_find(const dw_params *p, const char *name)
{
    for (size_t i = 0; i < p->n_weight; i++)
        if (!strcmp(p->weight[i].name, name))
            return (ptrdiff_t)i;
    return -1;
}
