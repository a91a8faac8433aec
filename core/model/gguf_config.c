/* config.json of a Hugging Face model, made of a GGUF file's metadata. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "model/gguf.h"

typedef struct maker {
    dw_gguf *g;
    dw_gguf_arch arch;
    dw_buf *out;
    dw_err *err;
    int64_t layers, d, heads, kv, ffn, positions, head_dim, vocab;
    double eps, theta;
} maker;

/* "llama.block_count" */
static const char *key_of(const maker *m, const char *name)
{
    return dw_arena_printf(&m->g->arena, "%s.%s", dw_gguf_arch_name(m->arch), name);
}

static dw_status count(const maker *m, const char *name, bool needed, int64_t *out)
{
    const char *key = key_of(m, name);
    bool there;
    DW_TRY(dw_gguf_int(m->g, key, 1, INT32_MAX, &there, out, m->err));
    return there || !needed ? DW_OK : dw_fail(m->err, DW_E_INPUT, "%s is missing", key);
}

/* A count per layer that must be the same in all of them. */
static dw_status same_count(const maker *m, const char *name, bool needed, int64_t *out)
{
    const char *key = key_of(m, name);
    const dw_gguf_field *f = dw_gguf_find(m->g, key);
    if (!f || !f->array)
        return count(m, name, needed, out);
    for (uint64_t i = 0; i < f->n; i++) {
        double x = f->type == DW_GGUF_STRING ? NAN : dw_gguf_element(f, i);
        if (!(x >= 1 && x <= INT32_MAX) || x != dw_gguf_element(f, 0))
            return dw_fail(m->err, DW_E_INPUT,
                           "%s differs from layer to layer, which is not supported", key);
        *out = (int64_t)x;
    }
    return DW_OK;
}

/* The shortest decimal that is this float32. */
static void put_float(dw_buf *b, double x)
{
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if ((float)strtod(text, NULL) == (float)x)
            break;
    }
    dw_json_put_num(b, strtod(text, NULL));
}

static void put_int(const maker *m, const char *key, int64_t x)
{
    dw_buf_printf(m->out, ",\n  \"%s\": %lld", key, (long long)x);
}

static void put_num(const maker *m, const char *key, double x)
{
    dw_buf_printf(m->out, ",\n  \"%s\": ", key);
    put_float(m->out, x);
}

static void put_str(const maker *m, const char *key, const char *s)
{
    dw_buf_printf(m->out, ",\n  \"%s\": ", key);
    dw_json_put_cstr(m->out, s);
}

static void put_bool(const maker *m, const char *key, bool x)
{
    dw_buf_printf(m->out, ",\n  \"%s\": %s", key, x ? "true" : "false");
}

static dw_status read_sizes(maker *m)
{
    const dw_gguf_tensor *embed = dw_gguf_find_tensor(m->g, "token_embd.weight");
    bool there;
    if (!embed || embed->n_dim != 2 || embed->dim[1] > INT32_MAX)
        return dw_fail(m->err, DW_E_INPUT, "no matrix token_embd.weight");
    m->vocab = (int64_t)embed->dim[1];
    DW_TRY(count(m, "block_count", true, &m->layers));
    DW_TRY(count(m, "embedding_length", true, &m->d));
    DW_TRY(count(m, "context_length", true, &m->positions));
    DW_TRY(same_count(m, "feed_forward_length", true, &m->ffn));
    DW_TRY(same_count(m, "attention.head_count", true, &m->heads));
    m->kv = m->heads;
    DW_TRY(same_count(m, "attention.head_count_kv", false, &m->kv));
    m->head_dim = m->d / m->heads;
    DW_TRY(count(m, "attention.key_length", false, &m->head_dim));
    int64_t value = m->head_dim, experts = 0;
    DW_TRY(count(m, "attention.value_length", false, &value));
    if (value != m->head_dim)
        return dw_fail(m->err, DW_E_INPUT, "%s is %lld, wanted that of keys, %lld",
                       key_of(m, "attention.value_length"), (long long)value,
                       (long long)m->head_dim);
    DW_TRY(dw_gguf_int(m->g, key_of(m, "expert_count"), 0, INT32_MAX, &there, &experts, m->err));
    if (experts)
        return dw_fail(m->err, DW_E_INPUT, "%s is %lld: mixtures of experts are not supported",
                       key_of(m, "expert_count"), (long long)experts);
    const char *eps = key_of(m, m->arch == DW_GGUF_GPT2 ? "attention.layer_norm_epsilon"
                                                        : "attention.layer_norm_rms_epsilon");
    m->eps = 1e-5;
    DW_TRY(dw_gguf_num(m->g, eps, 0, 1, &there, &m->eps, m->err));
    m->theta = m->arch == DW_GGUF_GEMMA3 ? 1e6 : 1e4;
    return dw_gguf_num(m->g, key_of(m, "rope.freq_base"), 1e-3, 1e12, &there, &m->theta, m->err);
}

/* ---- rotary scaling ---- */

/* By what Llama 3 divides the frequency of a wavelength; low and high are 1 and 4 in every model.
 */
static double llama3_divides(double wave, double factor, double original)
{
    double smooth = (original / wave - 1) / (4 - 1);
    return smooth <= 0 ? factor : smooth >= 1 ? 1 : 1 / ((1 - smooth) / factor + smooth);
}

/* What is stored are the divisors; the parameters are found again. */
static dw_status llama3_scaling(const maker *m, const dw_gguf_tensor *t)
{
    size_t n = (size_t)m->head_dim / 2;
    double factor = 1, original = 8192;
    if (t->dtype != DW_DT_F32 || t->n_dim != 1 || t->n != n)
        return dw_fail(m->err, DW_E_INPUT, "tensor \"rope_freqs.weight\": wanted %zu float32", n);
    double *wave = dw_arena_alloc(&m->g->arena, 2 * n * sizeof *wave), *have = wave + n;
    for (size_t i = 0; i < n; i++) {
        float x;
        memcpy(&x, t->data + 4 * i, 4);
        have[i] = (double)x;
        wave[i] = 2 * M_PI * pow(m->theta, 2.0 * (double)i / (double)m->head_dim);
        factor = fmax(factor, have[i]);
    }
    for (size_t i = 0; i < n; i++) /* any frequency between the two ends tells */
        if (have[i] > 1.001 && have[i] < 0.999 * factor)
            original = round(wave[i] * (1 + 3 * (1 / have[i] - 1 / factor) / (1 - 1 / factor)));
    bool same = factor > 1 && original >= 1 && original <= INT32_MAX;
    for (size_t i = 0; i < n && same; i++) {
        double want = llama3_divides(wave[i], factor, original);
        same = fabs(have[i] - want) <= 1e-3 * want;
    }
    if (!same)
        return dw_fail(m->err, DW_E_INPUT,
                       "tensor \"rope_freqs.weight\" is none of the scalings that are known");
    dw_buf_adds(m->out, ",\n  \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": ");
    put_float(m->out, factor);
    dw_buf_printf(m->out,
                  ", \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, "
                  "\"original_max_position_embeddings\": %.0f}",
                  original);
    return DW_OK;
}

static dw_status put_scaling(const maker *m)
{
    const dw_gguf_tensor *freqs = dw_gguf_find_tensor(m->g, "rope_freqs.weight");
    const char *key = key_of(m, "rope.scaling.type");
    dw_text type = DW_TEXT("none");
    double factor = 1;
    bool there;
    if (freqs)
        return llama3_scaling(m, freqs);
    DW_TRY(dw_gguf_str(m->g, key, &there, &type, m->err));
    DW_TRY(dw_gguf_num(m->g, key_of(m, "rope.scaling.factor"), 1e-3, 1e6, &there, &factor, m->err));
    if (dw_text_is(type, "linear")) {
        dw_buf_adds(m->out, ",\n  \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": ");
        put_float(m->out, factor);
        dw_buf_addc(m->out, '}');
        return DW_OK;
    }
    return dw_text_is(type, "none") ? DW_OK
                                    : dw_fail(m->err, DW_E_INPUT, "%s \"%.*s\" is not supported",
                                              key, (int)(type.len < 32 ? type.len : 32), type.ptr);
}

/* ---- families ---- */

static dw_status put_optional(const maker *m, const char *gguf, const char *hf)
{
    double x;
    bool there;
    DW_TRY(dw_gguf_num(m->g, key_of(m, gguf), 0, 1e12, &there, &x, m->err));
    if (there)
        put_num(m, hf, x);
    return DW_OK;
}

/* The largest model of each family scales scores by its width, the others by their heads. */
static void put_gemma_scale(const maker *m)
{
    bool largest = m->layers == (m->arch == DW_GGUF_GEMMA2 ? 46 : 62);
    put_int(m, "query_pre_attn_scalar", largest ? m->d / m->heads : m->head_dim);
}

static dw_status put_family(const maker *m)
{
    switch (m->arch) {
    case DW_GGUF_LLAMA:
        put_bool(m, "attention_bias", dw_gguf_find_tensor(m->g, "blk.0.attn_q.bias") != NULL);
        put_bool(m, "mlp_bias", dw_gguf_find_tensor(m->g, "blk.0.ffn_up.bias") != NULL);
        break;
    case DW_GGUF_QWEN3:
        put_bool(m, "attention_bias", false);
        break;
    case DW_GGUF_GEMMA2:
    case DW_GGUF_GEMMA3:
        put_gemma_scale(m);
        DW_TRY(put_optional(m, "attn_logit_softcapping", "attn_logit_softcapping"));
        DW_TRY(put_optional(m, "final_logit_softcapping", "final_logit_softcapping"));
        if (m->arch == DW_GGUF_GEMMA3)
            put_num(m, "rope_local_base_freq", 10000);
        break;
    case DW_GGUF_PHI3:
        for (int i = 0; i < 2; i++) {
            const char *name = i ? "rope_factors_short.weight" : "rope_factors_long.weight";
            if (dw_gguf_find_tensor(m->g, name))
                return dw_fail(m->err, DW_E_INPUT,
                               "tensor \"%s\": Phi-3's long contexts (longrope) are not supported",
                               name);
        }
        break;
    default:
        break;
    }
    if (m->arch != DW_GGUF_LLAMA) {
        int64_t window = 0;
        DW_TRY(count(m, "attention.sliding_window", false, &window));
        if (window)
            put_int(m, "sliding_window", window);
    }
    return DW_OK;
}

static void put_gpt2(const maker *m)
{
    put_int(m, "n_embd", m->d);
    put_int(m, "n_layer", m->layers);
    put_int(m, "n_head", m->heads);
    put_int(m, "n_positions", m->positions);
    put_int(m, "n_inner", m->ffn);
    put_num(m, "layer_norm_epsilon", m->eps);
    put_str(m, "activation_function", "gelu_new");
}

static dw_status put_rotary_model(const maker *m)
{
    const bool gemma = (m->arch & (DW_GGUF_GEMMA | DW_GGUF_GEMMA2 | DW_GGUF_GEMMA3)) != 0;
    int64_t turned = m->head_dim;
    put_int(m, "hidden_size", m->d);
    put_int(m, "num_hidden_layers", m->layers);
    put_int(m, "num_attention_heads", m->heads);
    put_int(m, "num_key_value_heads", m->kv);
    if (m->arch != DW_GGUF_QWEN2 && m->arch != DW_GGUF_PHI3)
        put_int(m, "head_dim", m->head_dim);
    put_int(m, "intermediate_size", m->ffn);
    put_int(m, "max_position_embeddings", m->positions);
    put_num(m, "rms_norm_eps", m->eps);
    put_num(m, "rope_theta", m->theta);
    put_str(m, gemma ? "hidden_activation" : "hidden_act", gemma ? "gelu_pytorch_tanh" : "silu");
    DW_TRY(count(m, "rope.dimension_count", false, &turned));
    if (turned != m->head_dim && m->arch != DW_GGUF_PHI3)
        return dw_fail(m->err, DW_E_INPUT, "%s is %lld, wanted the size of a head, %lld",
                       key_of(m, "rope.dimension_count"), (long long)turned,
                       (long long)m->head_dim);
    if (turned != m->head_dim)
        put_num(m, "partial_rotary_factor", (double)turned / (double)m->head_dim);
    DW_TRY(put_scaling(m));
    return put_family(m);
}

/* ---- what every model has ---- */

static const char *class_of(dw_gguf_arch arch)
{
    switch (arch) {
    case DW_GGUF_QWEN2:
        return "Qwen2ForCausalLM";
    case DW_GGUF_QWEN3:
        return "Qwen3ForCausalLM";
    case DW_GGUF_GPT2:
        return "GPT2LMHeadModel";
    case DW_GGUF_GEMMA:
        return "GemmaForCausalLM";
    case DW_GGUF_GEMMA2:
        return "Gemma2ForCausalLM";
    case DW_GGUF_GEMMA3:
        return "Gemma3ForCausalLM";
    case DW_GGUF_PHI3:
        return "Phi3ForCausalLM";
    default:
        return "LlamaForCausalLM";
    }
}

/* The number type of most values; quantised ones are float32 once they are read. */
static const char *dtype_of(const dw_gguf *g)
{
    uint64_t n[3] = {0};
    for (size_t i = 0; i < g->n_tensor; i++)
        n[g->tensor[i].dtype == DW_DT_F16    ? 1
          : g->tensor[i].dtype == DW_DT_BF16 ? 2
                                             : 0] += g->tensor[i].n;
    return n[1] > n[0] && n[1] > n[2] ? "float16" : n[2] > n[0] ? "bfloat16" : "float32";
}

static dw_status put_id(const maker *m, const char *gguf, const char *hf)
{
    int64_t id;
    bool there;
    DW_TRY(dw_gguf_int(m->g, gguf, 0, UINT32_MAX, &there, &id, m->err));
    if (there && id < m->vocab)
        put_int(m, hf, id);
    return DW_OK;
}

/* The end of the text, and of a turn where that is another token. */
static dw_status put_ends(const maker *m)
{
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    int64_t id[3];
    size_t n = 0;
    for (int i = 0; i < 3; i++) {
        bool there;
        DW_TRY(dw_gguf_int(m->g, keys[i], 0, UINT32_MAX, &there, &id[n], m->err));
        bool known = !there || id[n] >= m->vocab;
        for (size_t k = 0; k < n; k++)
            known |= id[k] == id[n];
        n += !known;
    }
    if (n == 1)
        put_int(m, "eos_token_id", id[0]);
    for (size_t i = 0; n > 1 && i < n; i++)
        dw_buf_printf(m->out, i ? ", %lld" : ",\n  \"eos_token_id\": [%lld", (long long)id[i]);
    if (n > 1)
        dw_buf_addc(m->out, ']');
    return DW_OK;
}

static bool is_tied(const dw_gguf *g)
{
    const dw_gguf_tensor *e = dw_gguf_find_tensor(g, "token_embd.weight");
    const dw_gguf_tensor *h = dw_gguf_find_tensor(g, "output.weight");
    return !h || (h->dtype == e->dtype && h->bytes == e->bytes &&
                  !memcmp(h->data, e->data, (size_t)e->bytes));
}

dw_status dw_gguf_config(dw_gguf *g, dw_buf *out, dw_err *err)
{
    maker m = {.g = g, .out = out, .err = err};
    DW_TRY(dw_gguf_architecture(g, &m.arch, err));
    DW_TRY(read_sizes(&m));
    const char *type = m.arch == DW_GGUF_GEMMA3 ? "gemma3_text" : dw_gguf_arch_name(m.arch);
    dw_buf_printf(out, "{\n  \"architectures\": [\"%s\"],\n  \"model_type\": \"%s\"",
                  class_of(m.arch), type);
    put_int(&m, "vocab_size", m.vocab);
    if (m.arch == DW_GGUF_GPT2)
        put_gpt2(&m);
    else
        DW_TRY(put_rotary_model(&m));
    DW_TRY(put_id(&m, "tokenizer.ggml.bos_token_id", "bos_token_id"));
    DW_TRY(put_ends(&m));
    DW_TRY(put_id(&m, "tokenizer.ggml.padding_token_id", "pad_token_id"));
    put_bool(&m, "tie_word_embeddings", is_tied(g));
    put_str(&m, "torch_dtype", dtype_of(g));
    dw_buf_adds(out, "\n}\n");
    return DW_OK;
}
