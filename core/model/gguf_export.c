/* Writes a model as a GGUF file: what llama.cpp wants to know of it, and the tensors in its order.
 */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "model/config.h"
#include "model/gguf.h"
#include "model/safetensors_internal.h"
#include "model/source.h"

typedef struct exporter {
    const dw_model *m;
    dw_gguf_arch arch;
    dw_dtype dtype;
    dw_arena arena;
    dw_gguf_out out;
    dw_writer *w;
} exporter;

/* ---- metadata ---- */

static const char *key_of(exporter *e, const char *name)
{
    return dw_arena_printf(&e->arena, "%s.%s", dw_gguf_arch_name(e->arch), name);
}

static void put_u32(exporter *e, const char *name, uint32_t x)
{
    dw_gguf_put_u32(&e->out, key_of(e, name), x);
}

static void put_f32(exporter *e, const char *name, double x)
{
    dw_gguf_put_f32(&e->out, key_of(e, name), x);
}

static dw_status find_arch(exporter *e, dw_err *err)
{
    const dw_description *d = &e->m->desc;
    const char *family = d->family;
    if (!strcmp(family, "mistral"))
        family = "llama";
    if (!strcmp(family, "gemma3_text"))
        family = "gemma3";
    e->arch = dw_gguf_arch_of(family);
    if (!e->arch)
        return dw_fail(err, DW_E_USAGE, "%s models cannot be written as GGUF", d->family);
    if (d->top != DW_TOP_LM || d->value_width)
        return dw_fail(err, DW_E_USAGE,
                       "a model with a score or value head cannot be written as GGUF; write a "
                       "Hugging Face folder");
    for (uint32_t i = 0; e->arch == DW_GGUF_LLAMA && i < d->layers; i++)
        if (d->window[i])
            return dw_fail(err, DW_E_USAGE,
                           "GGUF's llama has no sliding window, and this model has one of %u",
                           d->window[i]);
    return DW_OK;
}

static uint32_t window_of(const dw_description *d)
{
    uint32_t w = 0;
    for (uint32_t i = 0; i < d->layers; i++)
        w = d->window[i] ? d->window[i] : w;
    return w;
}

static dw_status put_rope(exporter *e, dw_err *err)
{
    const dw_description *d = &e->m->desc;
    put_f32(e, "rope.freq_base", d->rope_theta);
    put_u32(e, "rope.dimension_count", (uint32_t)lround(d->head_dim * d->partial_rotary));
    switch (d->rope) {
    case DW_ROPE_LINEAR:
        dw_gguf_put_str(&e->out, key_of(e, "rope.scaling.type"), DW_TEXT("linear"));
        put_f32(e, "rope.scaling.factor", d->rope_factor);
        return DW_OK;
    case DW_ROPE_DEFAULT:
    case DW_ROPE_LLAMA3: /* its frequencies are a tensor */
        return DW_OK;
    default:
        return dw_fail(err, DW_E_USAGE, "this model's rotary scaling cannot be written as GGUF");
    }
}

static dw_status put_model(exporter *e, dw_err *err)
{
    const dw_description *d = &e->m->desc;
    const bool gpt2 = e->arch == DW_GGUF_GPT2;
    dw_gguf_put_str(&e->out, "general.architecture", dw_text_of(dw_gguf_arch_name(e->arch)));
    dw_gguf_put_str(&e->out, "general.type", DW_TEXT("model"));
    dw_gguf_put_str(&e->out, "general.name", dw_text_of(dw_path_base(e->m->dir)));
    dw_gguf_put_u32(&e->out, "general.file_type",
                    e->dtype == DW_DT_F32    ? 0
                    : e->dtype == DW_DT_F16  ? 1
                    : e->dtype == DW_DT_Q8_0 ? 7
                                             : 32);
    dw_gguf_put_u32(&e->out, "general.quantization_version", 2);
    put_u32(e, "block_count", d->layers);
    put_u32(e, "context_length", d->max_positions);
    put_u32(e, "embedding_length", d->d);
    put_u32(e, "feed_forward_length", d->ffn);
    put_u32(e, "attention.head_count", d->heads);
    put_u32(e, "vocab_size", d->vocab);
    put_f32(e, gpt2 ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
            d->norm_eps);
    if (gpt2)
        return DW_OK;
    put_u32(e, "attention.head_count_kv", d->kv_heads);
    put_u32(e, "attention.key_length", d->head_dim);
    put_u32(e, "attention.value_length", d->head_dim);
    if (window_of(d))
        put_u32(e, "attention.sliding_window", window_of(d));
    if (d->attn_softcap > 0)
        put_f32(e, "attn_logit_softcapping", d->attn_softcap);
    if (d->head_softcap > 0)
        put_f32(e, "final_logit_softcapping", d->head_softcap);
    return put_rope(e, err);
}

/* ---- tensors ---- */

/* One tensor: where it comes from, and how it is to lie. A NULL name: none of GGUF's. */
typedef struct item {
    const dw_tensor_out *from;
    const char *name;
    dw_stored how;
    dw_dtype dtype;
    uint64_t rows, cols; /* of Hugging Face's; a vector has one row */
    uint32_t heads;
} item;

static dw_status plan_item(exporter *e, const dw_tensor_out *t, item *out, dw_err *err)
{
    *out = (item){.from = t, .rows = 1, .cols = t->dim[0]};
    out->name = dw_gguf_from_hf(&e->arena, e->arch, t->name, &out->how);
    if (!out->name)
        return dw_fail(err, DW_E_USAGE, "tensor \"%s\" has no place in GGUF", t->name);
    if (t->n_dim == 2) {
        out->rows = t->dim[0];
        out->cols = t->dim[1];
    }
    const dw_description *d = &e->m->desc;
    out->heads = strstr(out->name, "attn_k") ? d->kv_heads : d->heads;
    uint64_t row = out->how == DW_STORED_TRANSPOSED ? out->rows : out->cols;
    out->dtype = t->n_dim == 1 ? DW_DT_F32 : row % dw_quant_block(e->dtype) ? DW_DT_F16 : e->dtype;
    const uint64_t dim[2] = {row, out->how == DW_STORED_TRANSPOSED ? out->cols : out->rows};
    dw_gguf_put_tensor(&e->out, out->name, out->dtype, dim, t->n_dim);
    return DW_OK;
}

/* Row r of what the file has. */
static const dw_real *row_of(const item *x, const dw_real *v, uint64_t r, dw_real *buffer)
{
    if (x->how == DW_STORED_TRANSPOSED) {
        for (uint64_t i = 0; i < x->rows; i++)
            buffer[i] = v[i * x->cols + r];
        return buffer;
    }
    if (x->how == DW_STORED_PAIRS && x->from->n_dim == 1) /* biases of q and k */
        return v;
    if (x->how == DW_STORED_PAIRS) {
        uint64_t size = x->rows / x->heads, i = r % size;
        return v + (r / size * size + i % 2 * (size / 2) + i / 2) * x->cols;
    }
    if (x->how != DW_STORED_PLUS_ONE)
        return v + r * x->cols;
    for (uint64_t i = 0; i < x->cols; i++)
        buffer[i] = v[r * x->cols + i] + 1;
    return buffer;
}

static dw_status write_row(exporter *e, const item *x, const dw_real *row, uint64_t n,
                           unsigned char *bytes, dw_err *err)
{
    if (x->dtype == DW_DT_Q8_0)
        dw_quant_write_q8_0(row, (size_t)n, bytes);
    else
        dw_st_encode(x->dtype, row, (size_t)n, bytes);
    return dw_writer_put(e->w, bytes,
                         (size_t)(n / dw_quant_block(x->dtype)) * dw_quant_bytes(x->dtype), err);
}

/* The halves of a bias that belongs to paired rows, by turns. */
static void pair_up(const item *x, const dw_real *v, dw_real *out)
{
    uint64_t size = x->cols / x->heads;
    for (uint64_t r = 0; r < x->cols; r++)
        out[r] = v[r / size * size + r % size % 2 * (size / 2) + r % size / 2];
}

static dw_status write_item(exporter *e, const item *x, dw_err *err)
{
    static const unsigned char zero[64] = {0};
    const dw_real *v = x->from->fetch ? x->from->fetch(x->from->ctx, x->from) : x->from->values;
    bool turned = x->how == DW_STORED_TRANSPOSED;
    uint64_t n = turned ? x->rows : x->cols, rows = turned ? x->cols : x->rows;
    dw_real *buffer = dw_alloc((size_t)n * sizeof *buffer);
    unsigned char *bytes = dw_alloc((size_t)n * 4 + 64);
    dw_status st = DW_OK;
    for (uint64_t r = 0; r < rows && st >= 0; r++) {
        const dw_real *row = row_of(x, v, r, buffer);
        if (x->how == DW_STORED_PAIRS && x->from->n_dim == 1) {
            pair_up(x, v, buffer);
            row = buffer;
        }
        st = write_row(e, x, row, n, bytes, err);
    }
    uint64_t size = n / dw_quant_block(x->dtype) * dw_quant_bytes(x->dtype) * rows;
    if (st >= 0)
        st = dw_writer_put(e->w, zero, dw_gguf_padding(size), err);
    dw_free(buffer);
    dw_free(bytes);
    return st;
}

/* What each frequency is divided by. */
static float *llama3_factors(exporter *e, size_t *n)
{
    dw_description plain = e->m->desc;
    plain.rope = DW_ROPE_DEFAULT;
    *n = plain.head_dim / 2;
    double *base = dw_arena_alloc(&e->arena, *n * sizeof *base);
    float *out = dw_arena_alloc(&e->arena, *n * sizeof *out);
    double *own = dw_arena_alloc(&e->arena, *n * sizeof *own);
    dw_config_inv_freq(&plain, false, base);
    dw_config_inv_freq(&e->m->desc, false, own);
    for (size_t i = 0; i < *n; i++)
        out[i] = (float)(base[i] / own[i]);
    return out;
}

static dw_status write_all(exporter *e, const item *x, size_t n, const float *freqs, size_t n_freq,
                           dw_err *err)
{
    static const unsigned char zero[64] = {0};
    dw_buf head = {0};
    dw_gguf_head(&e->out, &head);
    dw_status st = dw_writer_put(e->w, head.ptr, head.len, err);
    dw_buf_finish(&head);
    if (st >= 0 && freqs) {
        st = dw_writer_put(e->w, freqs, n_freq * sizeof *freqs, err);
        if (st >= 0)
            st = dw_writer_put(e->w, zero, dw_gguf_padding(n_freq * sizeof *freqs), err);
    }
    for (size_t i = 0; i < n && st >= 0; i++)
        st = write_item(e, &x[i], err);
    return st;
}

static dw_status export(exporter *e, const char *path, dw_real **buffer, dw_err *err)
{
    dw_tensor_out *t;
    size_t n_freq = 0;
    const float *freqs = NULL;
    DW_TRY(find_arch(e, err));
    DW_TRY(put_model(e, err));
    DW_TRY(dw_gguf_export_words(e->m, &e->out, err));
    size_t n = dw_source_tensors(&e->arena, e->m, DW_SAVE_F32, buffer, &t) - e->m->source->n_extra;
    item *x = dw_arena_alloc(&e->arena, (n + 1) * sizeof *x);
    if (e->m->desc.rope == DW_ROPE_LLAMA3) {
        freqs = llama3_factors(e, &n_freq);
        dw_gguf_put_tensor(&e->out, "rope_freqs.weight", DW_DT_F32, &(uint64_t){n_freq}, 1);
    }
    for (size_t i = 0; i < n; i++)
        DW_TRY(plan_item(e, &t[i], &x[i], err));
    DW_TRY(dw_writer_open(path, &e->w, err));
    dw_status st = write_all(e, x, n, freqs, n_freq, err);
    if (st < 0)
        dw_writer_abandon(e->w);
    else
        st = dw_writer_close(e->w, err);
    return st;
}

dw_status dw_gguf_export(const dw_model *m, const char *path, dw_dtype dtype, dw_err *err)
{
    exporter e = {.m = m, .dtype = dtype};
    dw_real *buffer = NULL;
    dw_status st = export(&e, path, &buffer, err);
    dw_free(buffer);
    dw_gguf_out_finish(&e.out);
    dw_arena_finish(&e.arena);
    return st;
}
