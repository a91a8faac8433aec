/* The names that Hugging Face and PEFT give to the engine's parameters, family by family. */
#include <string.h>

#include "base/alloc.h"
#include "model/weights.h"

/* Rows of a fused parameter. */
typedef enum rows_of { ALL, Q, K, V, GATE, UP } rows_of;

typedef struct part {
    const char *weight, *name; /* within the layer */
    rows_of rows;
    bool transposed;
} part;

static const part llama_parts[] = {
    {"qkv", "self_attn.q_proj.weight", Q, false},
    {"qkv_bias", "self_attn.q_proj.bias", Q, false},
    {"qkv", "self_attn.k_proj.weight", K, false},
    {"qkv_bias", "self_attn.k_proj.bias", K, false},
    {"qkv", "self_attn.v_proj.weight", V, false},
    {"qkv_bias", "self_attn.v_proj.bias", V, false},
    {"o", "self_attn.o_proj.weight", ALL, false},
    {"o_bias", "self_attn.o_proj.bias", ALL, false},
    {"q_norm", "self_attn.q_norm.weight", ALL, false},
    {"k_norm", "self_attn.k_norm.weight", ALL, false},
    {"gate_up", "mlp.gate_proj.weight", GATE, false},
    {"gate_up_bias", "mlp.gate_proj.bias", GATE, false},
    {"gate_up", "mlp.up_proj.weight", UP, false},
    {"gate_up_bias", "mlp.up_proj.bias", UP, false},
    {"down", "mlp.down_proj.weight", ALL, false},
    {"down_bias", "mlp.down_proj.bias", ALL, false},
};
static const part phi3_parts[] = {
    {"o", "self_attn.o_proj.weight", ALL, false},
    {"qkv", "self_attn.qkv_proj.weight", ALL, false},
    {"gate_up", "mlp.gate_up_proj.weight", ALL, false},
    {"down", "mlp.down_proj.weight", ALL, false},
};
static const part gpt2_parts[] = {
    {"attn_norm", "ln_1.weight", ALL, false},  {"attn_norm_bias", "ln_1.bias", ALL, false},
    {"qkv", "attn.c_attn.weight", ALL, true},  {"qkv_bias", "attn.c_attn.bias", ALL, false},
    {"o", "attn.c_proj.weight", ALL, true},    {"o_bias", "attn.c_proj.bias", ALL, false},
    {"ffn_norm", "ln_2.weight", ALL, false},   {"ffn_norm_bias", "ln_2.bias", ALL, false},
    {"gate_up", "mlp.c_fc.weight", ALL, true}, {"gate_up_bias", "mlp.c_fc.bias", ALL, false},
    {"down", "mlp.c_proj.weight", ALL, true},  {"down_bias", "mlp.c_proj.bias", ALL, false},
};
/* Norms around the branches; one name means another place where a branch has two. */
static const part pre_norms[] = {
    {"attn_norm", "input_layernorm.weight", ALL, false},
    {"ffn_norm", "post_attention_layernorm.weight", ALL, false},
};
static const part pre_post_norms[] = {
    {"attn_norm", "input_layernorm.weight", ALL, false},
    {"post_attn_norm", "post_attention_layernorm.weight", ALL, false},
    {"ffn_norm", "pre_feedforward_layernorm.weight", ALL, false},
    {"post_ffn_norm", "post_feedforward_layernorm.weight", ALL, false},
};

typedef struct names {
    const part *part;
    size_t n_part;
    const char *layer, *embed, *positions, *norm, *norm_bias; /* after the prefix */
    const char *body; /* the prefix of transformers' own class, which PEFT uses */
} names;
#define PARTS(list) list, sizeof list / sizeof *list

static const names layouts[] = {
    [DW_LAYOUT_LLAMA] = {PARTS(llama_parts), "layers", "embed_tokens.weight", "", "norm.weight", "",
                         "model."},
    [DW_LAYOUT_PHI3] = {PARTS(phi3_parts), "layers", "embed_tokens.weight", "", "norm.weight", "",
                        "model."},
    [DW_LAYOUT_GPT2] = {PARTS(gpt2_parts), "h", "wte.weight", "wpe.weight", "ln_f.weight",
                        "ln_f.bias", "transformer."},
};

const char *dw_names_score(const dw_description *d)
{
    return d->layout == DW_LAYOUT_GPT2 && d->top == DW_TOP_TOKEN ? "classifier." : "score.";
}

bool dw_names_is_score(const char *name)
{
    static const char adapter[] = "base_model.model.";
    if (!strncmp(name, adapter, sizeof adapter - 1))
        name += sizeof adapter - 1;
    return !strncmp(name, "score.", 6) || !strncmp(name, "classifier.", 11);
}

void dw_names_find_prefix(const dw_checkpoint *c, dw_description *d)
{
    /* the class's own; a body saved alone; a decoder out of a model of several parts, new and old
     */
    const char *const tries[] = {layouts[d->layout].body, "", "model.language_model.",
                                 "language_model.model."};
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        dw_arena a = {0};
        const char *name = dw_arena_printf(&a, "%s%s", tries[i], layouts[d->layout].embed);
        const bool found = dw_checkpoint_find(c, name) != NULL;
        dw_arena_finish(&a);
        if (!found)
            continue;
        memset(d->prefix, 0, sizeof d->prefix);
        strncpy(d->prefix, tries[i], sizeof d->prefix - 1);
        return;
    }
}

/* ---- turned tensors ---- */

void dw_slice_turn(const dw_real *in, size_t rows, size_t cols, dw_real *out)
{
    enum { TILE = 16 }; /* both sides stay in the cache */
    for (size_t r0 = 0; r0 < rows; r0 += TILE)
        for (size_t c0 = 0; c0 < cols; c0 += TILE)
            for (size_t r = r0; r < rows && r < r0 + TILE; r++)
                for (size_t c = c0; c < cols && c < c0 + TILE; c++)
                    out[c * rows + r] = in[r * cols + c];
}

dw_status dw_slice_read(const dw_slice *s, const dw_tensor_entry *e, dw_real *out, dw_err *err)
{
    if (!s->transposed)
        return dw_tensor_read(e, out, err);
    dw_real *file = dw_alloc((size_t)e->n * sizeof *file);
    dw_status st = dw_tensor_read(e, file, err);
    if (st == DW_OK)
        dw_slice_turn(file, s->cols, s->rows, out);
    dw_free(file);
    return st;
}

/* ---- slices ---- */

typedef struct slices {
    dw_arena *arena;
    const dw_description *d;
    const dw_params *p;
    dw_slice *list;
    size_t n, cap;
} slices;

/* Some rows of a parameter, where there is such a parameter. */
static void add_rows(slices *s, const char *weight, const char *name, const dw_slice *rows)
{
    ptrdiff_t w = dw_params_find(s->p, weight);
    if (w < 0)
        return;
    const dw_weight *x = &s->p->weight[w];
    DW_GROW(s->list, s->n, s->cap);
    s->list[s->n++] = (dw_slice){.name = name,
                                 .weight = (uint32_t)w,
                                 .row0 = rows->row0,
                                 .rows = rows->rows ? rows->rows : x->rows,
                                 .cols = x->cols,
                                 .n_dim = x->decay ? 2 : 1,
                                 .transposed = rows->transposed};
}

static void add_whole(slices *s, const char *weight, const char *prefix, const char *name)
{
    const dw_slice all = {0};
    add_rows(s, weight, dw_arena_printf(s->arena, "%s%s", prefix, name), &all);
}

static void add_part(slices *s, uint32_t layer, const part *x)
{
    const dw_description *d = s->d;
    const uint32_t q = d->heads * d->head_dim, kv = d->kv_heads * d->head_dim;
    const dw_slice cuts[] = {[ALL] = {0},
                             [Q] = {.rows = q},
                             [K] = {.row0 = q, .rows = kv},
                             [V] = {.row0 = q + kv, .rows = kv},
                             [GATE] = {.rows = d->ffn},
                             [UP] = {.row0 = d->ffn, .rows = d->ffn}};
    dw_slice rows = cuts[x->rows];
    rows.transposed = x->transposed;
    add_rows(s, dw_arena_printf(s->arena, "layers.%u.%s", layer, x->weight),
             dw_arena_printf(s->arena, "%s%s.%u.%s", d->prefix, layouts[d->layout].layer, layer,
                             x->name),
             &rows);
}

static void add_layer(slices *s, uint32_t i)
{
    const names *n = &layouts[s->d->layout];
    for (size_t k = 0; k < n->n_part; k++)
        add_part(s, i, &n->part[k]);
    if (s->d->layout == DW_LAYOUT_GPT2)
        return;
    const bool post = s->d->norm_place == DW_NORM_PRE_POST;
    const size_t n_norm = post ? sizeof pre_post_norms / sizeof *pre_post_norms
                               : sizeof pre_norms / sizeof *pre_norms;
    for (size_t k = 0; k < n_norm; k++)
        add_part(s, i, post ? &pre_post_norms[k] : &pre_norms[k]);
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
    slices s = {.arena = a, .d = d, .p = p};
    const names *n = &layouts[d->layout];
    add_whole(&s, "embed", d->prefix, n->embed);
    add_whole(&s, "positions", d->prefix, n->positions);
    for (uint32_t i = 0; i < d->layers; i++)
        add_layer(&s, i);
    add_whole(&s, "final_norm", d->prefix, n->norm);
    add_whole(&s, "final_norm_bias", d->prefix, n->norm_bias);
    add_whole(&s, "head", "", "lm_head.weight");
    add_whole(&s, "score", dw_names_score(d), "weight");
    add_whole(&s, "score_bias", dw_names_score(d), "bias");
    return finish(&s, out);
}

/* ---- adapters ---- */

/* A matrix that adapters know, and what PEFT calls it within its layer. */
typedef struct module {
    dw_layout layout;
    uint32_t bit;
    const char *path;
} module;
static const module modules[] = {
    {DW_LAYOUT_LLAMA, DW_LORA_Q, "self_attn.q_proj"},
    {DW_LAYOUT_LLAMA, DW_LORA_K, "self_attn.k_proj"},
    {DW_LAYOUT_LLAMA, DW_LORA_V, "self_attn.v_proj"},
    {DW_LAYOUT_LLAMA, DW_LORA_O, "self_attn.o_proj"},
    {DW_LAYOUT_LLAMA, DW_LORA_GATE, "mlp.gate_proj"},
    {DW_LAYOUT_LLAMA, DW_LORA_UP, "mlp.up_proj"},
    {DW_LAYOUT_LLAMA, DW_LORA_DOWN, "mlp.down_proj"},
    {DW_LAYOUT_PHI3, DW_LORA_QKV, "self_attn.qkv_proj"},
    {DW_LAYOUT_PHI3, DW_LORA_O, "self_attn.o_proj"},
    {DW_LAYOUT_PHI3, DW_LORA_GATE_UP, "mlp.gate_up_proj"},
    {DW_LAYOUT_PHI3, DW_LORA_DOWN, "mlp.down_proj"},
    {DW_LAYOUT_GPT2, DW_LORA_QKV, "attn.c_attn"},
    {DW_LAYOUT_GPT2, DW_LORA_O, "attn.c_proj"},
    {DW_LAYOUT_GPT2, DW_LORA_UP, "mlp.c_fc"},
    {DW_LAYOUT_GPT2, DW_LORA_DOWN, "mlp.c_proj"},
};
enum { N_MODULES = sizeof modules / sizeof *modules };

const char *dw_lora_path(const dw_description *d, uint32_t bit)
{
    for (size_t i = 0; i < N_MODULES; i++)
        if (modules[i].layout == d->layout && modules[i].bit == bit)
            return modules[i].path;
    return NULL;
}

/* The module's own name: what follows the last dot. */
static const char *last_name(const module *x)
{
    return strrchr(x->path, '.') + 1;
}

uint32_t dw_lora_named(dw_text name)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < N_MODULES; i++)
        if (dw_text_is(name, modules[i].path) || dw_text_is(name, last_name(&modules[i])))
            bits |= modules[i].bit;
    return bits;
}

/* All modules of the layout that share a module's name. */
static uint32_t namesakes(const module *x)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < N_MODULES; i++)
        if (modules[i].layout == x->layout && !strcmp(last_name(&modules[i]), last_name(x)))
            bits |= modules[i].bit;
    return bits;
}

size_t dw_lora_modules(const dw_description *d, uint32_t targets, const char **out)
{
    size_t n = 0;
    uint32_t left = targets;
    for (size_t i = 0; i < N_MODULES; i++) {
        const module *x = &modules[i];
        if (x->layout != d->layout || !(left & x->bit))
            continue;
        const uint32_t same = namesakes(x);
        const bool all = (targets & same) == same;
        out[n++] = all ? last_name(x) : x->path;
        left &= ~(all ? same : x->bit);
    }
    return n;
}

/* PEFT wraps the class that transformers makes of the model, however the checkpoint spells it. */
static const char *wrapped_prefix(const dw_description *d)
{
    return !strcmp(d->family, "gemma3") ? "model.language_model." : layouts[d->layout].body;
}

char *dw_lora_module(dw_arena *a, const dw_description *d, uint32_t layer, uint32_t bit)
{
    return dw_arena_printf(a, "%s%s.%u.%s", wrapped_prefix(d), layouts[d->layout].layer, layer,
                           dw_lora_path(d, bit));
}

static void add_adapter(slices *s, uint32_t layer, const dw_lora_target *x, uint32_t row0,
                        uint32_t rank)
{
    static const char *const sites[DW_N_SITE] = {"qkv", "o", "gate_up", "down"};
    dw_arena *a = s->arena;
    const dw_slice all = {0}, own = {.row0 = row0, .rows = rank};
    const char *path =
        dw_arena_printf(a, "base_model.model.%s", dw_lora_module(a, s->d, layer, x->bit));
    add_rows(s, dw_arena_printf(a, "layers.%u.lora_a.%s", layer, sites[x->site]),
             dw_arena_printf(a, "%s.lora_A.weight", path), &own);
    add_rows(s, dw_arena_printf(a, "layers.%u.lora_b.%s", layer, x->name),
             dw_arena_printf(a, "%s.lora_B.weight", path), &all);
}

size_t dw_weights_adapter_slices(dw_arena *a, const dw_description *d, const dw_lora_spec *spec,
                                 const dw_params *p, dw_slice **out)
{
    slices s = {.arena = a, .d = d, .p = p};
    for (uint32_t i = 0; i < d->layers; i++) {
        uint32_t used[DW_N_SITE] = {0};
        for (int t = 0; t < DW_N_LORA_TARGET; t++) {
            const dw_lora_target *x = &dw_lora_targets[t];
            const uint32_t rank = dw_lora_at(spec, i, t).rank;
            if (rank)
                add_adapter(&s, i, x, used[x->site], rank);
            used[x->site] += rank;
        }
    }
    const char *score = dw_arena_printf(a, "base_model.model.%s", dw_names_score(d));
    add_whole(&s, "score", score, "weight");
    add_whole(&s, "score_bias", score, "bias");
    return finish(&s, out);
}

size_t dw_weights_value_slices(dw_arena *a, const dw_params *p, dw_slice **out)
{
    slices s = {.arena = a, .p = p};
    add_whole(&s, "value", "value_head.", "weight");
    add_whole(&s, "value_bias", "value_head.", "bias");
    return finish(&s, out);
}
