/* dowel inspect: what a model folder holds and how much memory it takes. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "cli/args.h"
#include "cli/cmd.h"
#include "model/config.h"
#include "model/engine.h"
#include "model/generate.h"

/* What the memory figures assume. */
enum { SEQUENCES = 4, TOKENS = 512, LORA_RANK = 16, LIVE = 8 };

typedef struct memory {
    size_t full, lora, decode;
    uint32_t tokens; /* per sequence */
    uint32_t rank;
} memory;

typedef struct facts {
    dw_exec x;
    const char *dir; /* as given */
    dw_model *m;     /* an outline */
    size_t stored[DW_N_DTYPE], n_tensor;
    const char *template;
    memory mem;
} facts;

static dw_status count_stored(facts *f, dw_err *err)
{
    dw_checkpoint *c = NULL;
    DW_TRY(dw_checkpoint_open(dw_model_dir(f->m), &c, err));
    f->n_tensor = dw_checkpoint_count(c);
    for (size_t i = 0; i < f->n_tensor; i++)
        f->stored[dw_checkpoint_at(c, i)->dtype]++;
    dw_checkpoint_close(c);
    return DW_OK;
}

/* Where the chat template stands: chat_template.jinja, or a key of tokenizer_config.json. */
static dw_status find_template(facts *f, dw_err *err)
{
    static const char config[] = "tokenizer_config.json";
    dw_buf b = {0};
    dw_json *root = NULL;
    bool there;
    dw_status st = dw_model_sidecar(f->m, "chat_template.jinja", &there, &b, err);
    if (st >= 0 && there)
        f->template = "chat_template.jinja";
    dw_buf_clear(&b);
    if (st >= 0 && !there)
        st = dw_model_sidecar(f->m, config, &there, &b, err);
    if (st >= 0 && there && !f->template) {
        st = dw_json_parse(b.ptr, b.len, DW_JSON_DEPTH_HEADER, 1, &root, err);
        if (st < 0)
            dw_err_prefix(err, config);
        const dw_json *v = root ? dw_json_get(root, "chat_template") : NULL;
        if (v && dw_json_kind(v) != DW_JSON_NULL)
            f->template = config;
    }
    dw_json_free(root);
    dw_buf_finish(&b);
    return st;
}

/* Weights, gradients and packed copies; the two moments of AdamW; one batch. */
static dw_status train_bytes(const facts *f, const char *dir, const dw_lora_spec *lora, size_t *out,
                             dw_err *err)
{
    const dw_model_options o = {.trainable = true, .lora = lora, .no_tokenizer = true};
    dw_model *m = NULL;
    DW_TRY(dw_model_outline(&f->x, dir, &o, &m, err));
    size_t rows = (size_t)SEQUENCES * f->mem.tokens;
    const dw_engine_need need = {.rows = rows,
                                 .sum_len_sq = rows * f->mem.tokens,
                                 .head_rows = rows,
                                 .head_pairs = rows,
                                 .save = true};
    *out = dw_model_bytes(m) + 2 * dw_model_trained(m)->n * sizeof(dw_real) +
           dw_engine_bytes(m, &need);
    dw_model_free(m);
    return DW_OK;
}

static dw_status estimate(facts *f, dw_err *err)
{
    const dw_description *d = dw_model_description(f->m);
    memory *mem = &f->mem;
    mem->tokens = d->max_positions < TOKENS ? d->max_positions : TOKENS;
    mem->rank = LORA_RANK;
    const dw_lora_spec fresh = {.rank = LORA_RANK, .alpha = LORA_RANK, .targets = DW_LORA_ALL};
    const dw_lora_spec *own = dw_model_lora(f->m);
    if (own)
        mem->rank = own->rank;
    DW_TRY(train_bytes(f, dw_model_dir(f->m), NULL, &mem->full, err));
    DW_TRY(train_bytes(f, dw_model_dir(f->m), own ? own : &fresh, &mem->lora, err));
    mem->decode = dw_model_bytes(f->m) + dw_generate_bytes(f->m, LIVE, mem->tokens / 2, LIVE,
                                                           mem->tokens - mem->tokens / 2);
    return DW_OK;
}

static const char *act_name(dw_act a)
{
    static const char *const names[] = {[DW_ACT_SILU] = "silu",
                                        [DW_ACT_GELU_TANH] = "gelu (tanh)",
                                        [DW_ACT_GELU_ERF] = "gelu",
                                        [DW_ACT_RELU] = "relu"};
    return names[a];
}

static uint32_t sliding_layers(const dw_description *d, uint32_t *window)
{
    uint32_t n = 0;
    *window = 0;
    for (uint32_t i = 0; i < d->layers; i++)
        if (d->window[i]) {
            n++;
            *window = d->window[i];
        }
    return n;
}

static void put_targets(dw_buf *b, uint32_t targets, const char *before, const char *between)
{
    static const char *const names[] = {"q", "k", "v", "o", "gate", "up", "down", "qkv", "gate_up"};
    const char *comma = "";
    for (int i = 0; i < 9; i++)
        if (targets & 1u << i) {
            dw_buf_printf(b, "%s%s%s%s", comma, before, names[i], before);
            comma = between;
        }
}

/* ---- JSON ---- */

static const char *top_name(dw_top top)
{
    static const char *const names[] = {
        [DW_TOP_LM] = "lm", [DW_TOP_SEQUENCE] = "sequence", [DW_TOP_TOKEN] = "token"};
    return names[top];
}

static void json_shape(dw_buf *b, const dw_description *d)
{
    uint32_t window = 0, sliding = sliding_layers(d, &window);
    dw_buf_printf(b,
                  ",\"family\":\"%s\",\"layers\":%u,\"hidden_size\":%u,\"heads\":%u,"
                  "\"kv_heads\":%u,\"head_dim\":%u,\"ffn_size\":%u,\"vocab_size\":%u,"
                  "\"max_positions\":%u,\"activation\":\"%s\",\"tied_head\":%s,"
                  "\"top\":\"%s\",\"score_width\":%u,"
                  "\"attention_bias\":%s,\"mlp_bias\":%s,\"qk_norm\":%s,\"sliding_layers\":%u,"
                  "\"window\":%u,\"rope\":{\"kind\":\"%s\",\"theta\":",
                  d->family, d->layers, d->d, d->heads, d->kv_heads, d->head_dim, d->ffn, d->vocab,
                  d->max_positions, act_name(d->act), d->tied ? "true" : "false", top_name(d->top),
                  d->score_width, d->qkv_bias ? "true" : "false", d->mlp_bias ? "true" : "false",
                  d->qk_norm ? "true" : "false", sliding, window, dw_config_rope_name(d->rope));
    dw_json_put_num(b, d->rope_theta);
    dw_buf_adds(b, ",\"factor\":");
    dw_json_put_num(b, d->rope_factor ? d->rope_factor : 1);
    dw_buf_addc(b, '}');
}

static void json_tokenizer(dw_buf *b, const dw_tokenizer *t)
{
    if (!t) {
        dw_buf_adds(b, ",\"tokenizer\":null");
        return;
    }
    dw_buf_adds(b, ",\"tokenizer\":{\"kind\":");
    dw_json_put_cstr(b, dw_tokenizer_kind(t));
    dw_buf_printf(b, ",\"size\":%d,\"bos\":%d,\"eos\":%d,\"pad\":%d}", dw_tokenizer_size(t),
                  dw_tokenizer_bos(t), dw_tokenizer_eos(t), dw_tokenizer_pad(t));
}

static void json_rest(dw_buf *b, const facts *f)
{
    const dw_lora_spec *lora = dw_model_lora(f->m);
    const int32_t *stop = NULL;
    size_t n = dw_model_stops(f->m, &stop);
    dw_buf_adds(b, ",\"template\":");
    if (f->template)
        dw_json_put_cstr(b, f->template);
    else
        dw_buf_adds(b, "null");
    dw_buf_adds(b, ",\"stops\":[");
    for (size_t i = 0; i < n; i++)
        dw_buf_printf(b, "%s%d", i ? "," : "", stop[i]);
    dw_buf_adds(b, "],\"adapter\":");
    if (lora) {
        dw_buf_printf(b, "{\"rank\":%u,\"alpha\":", lora->rank);
        dw_json_put_num(b, lora->alpha);
        dw_buf_printf(b, ",\"rslora\":%s,\"targets\":[", lora->rslora ? "true" : "false");
        put_targets(b, lora->targets, "\"", ",");
        dw_buf_printf(b, "],\"parameters\":%zu}", dw_model_n_adapter_params(f->m));
    } else {
        dw_buf_adds(b, "null");
    }
    dw_buf_printf(b,
                  ",\"memory\":{\"sequences\":%d,\"tokens\":%u,\"train_full\":%zu,"
                  "\"train_lora\":%zu,\"lora_rank\":%u,\"decode\":%zu,\"decode_live\":%d}}\n",
                  SEQUENCES, f->mem.tokens, f->mem.full, f->mem.lora, f->mem.rank, f->mem.decode,
                  LIVE);
}

static void put_json(dw_buf *b, const facts *f)
{
    const dw_description *d = dw_model_description(f->m);
    dw_buf_adds(b, "{\"model\":");
    dw_json_put_cstr(b, f->dir);
    dw_buf_adds(b, ",\"base\":");
    dw_json_put_cstr(b, dw_model_dir(f->m));
    json_shape(b, d);
    dw_buf_printf(b, ",\"dtype\":\"%s\",\"tensors\":{", d->dtype);
    const char *comma = "";
    for (int t = 0; t < DW_N_DTYPE; t++)
        if (f->stored[t]) {
            dw_buf_printf(b, "%s\"%s\":%zu", comma, dw_dtype_name((dw_dtype)t), f->stored[t]);
            comma = ",";
        }
    dw_buf_printf(b, "},\"parameters\":%zu", dw_model_n_params(f->m));
    json_tokenizer(b, dw_model_tokenizer(f->m));
    json_rest(b, f);
}

/* ---- for people ---- */

static void put_count(dw_buf *b, size_t n)
{
    char digits[32];
    int len = snprintf(digits, sizeof digits, "%zu", n);
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0)
            dw_buf_addc(b, ',');
        dw_buf_addc(b, digits[i]);
    }
}

static void put_bytes(dw_buf *b, size_t n)
{
    if (n >= (size_t)1 << 30)
        dw_buf_printf(b, "%.2f GiB", (double)n / (double)(1 << 30));
    else
        dw_buf_printf(b, "%.1f MiB", (double)n / (double)(1 << 20));
}

static void text_shape(dw_buf *b, const dw_description *d)
{
    uint32_t window = 0, sliding = sliding_layers(d, &window);
    dw_buf_printf(b, "shape       %u layers of width %u, %u heads of %u (%u for keys and values)\n",
                  d->layers, d->d, d->heads, d->head_dim, d->kv_heads);
    dw_buf_printf(b, "            feed-forward %u, %s%s%s%s%s\n", d->ffn, d->gated ? "gated " : "",
                  act_name(d->act), d->qkv_bias ? ", biases in attention" : "",
                  d->mlp_bias ? ", biases in feed-forward" : "",
                  d->qk_norm ? ", norms of queries and keys" : "");
    if (d->rope == DW_ROPE_NONE)
        dw_buf_printf(b, "positions   %u, learned", d->max_positions);
    else
        dw_buf_printf(b, "positions   %u, rotary %s, theta %g", d->max_positions,
                      dw_config_rope_name(d->rope), d->rope_theta);
    if (d->rope_factor)
        dw_buf_printf(b, ", factor %g", d->rope_factor);
    if (d->local_theta)
        dw_buf_printf(b, " (theta %g within windows)", d->local_theta);
    if (sliding)
        dw_buf_printf(b, ", window %u in %u layers", window, sliding);
    if (d->top == DW_TOP_LM)
        dw_buf_printf(b, "\nvocabulary  %u, %s head\n", d->vocab, d->tied ? "tied" : "own");
    else
        dw_buf_printf(b, "\nvocabulary  %u, no head\nscores      %u for each %s\n", d->vocab,
                      d->score_width, top_name(d->top));
}

static void text_ids(dw_buf *b, const facts *f)
{
    const dw_tokenizer *t = dw_model_tokenizer(f->m);
    const int32_t *stop = NULL;
    size_t n = dw_model_stops(f->m, &stop);
    if (t)
        dw_buf_printf(b, "tokenizer   %s, %d ids\n", dw_tokenizer_kind(t), dw_tokenizer_size(t));
    else
        dw_buf_adds(b, "tokenizer   none\n");
    dw_buf_printf(b, "template    %s\n", f->template ? f->template : "none");
    dw_buf_adds(b, "ends        ");
    for (size_t i = 0; i < n; i++) {
        dw_err err = {{0}};
        dw_buf_printf(b, "%s%d", i ? ", " : "", stop[i]);
        if (t && stop[i] < dw_tokenizer_size(t)) {
            dw_buf piece = {0};
            if (dw_tokenizer_piece(t, stop[i], &piece, &err) == DW_OK && piece.len) {
                dw_buf_addc(b, ' ');
                dw_json_put_str(b, piece.ptr, piece.len);
            }
            dw_buf_finish(&piece);
        }
    }
    dw_buf_adds(b, n ? "\n" : "none\n");
}

static void put_text(dw_buf *b, const facts *f)
{
    const dw_description *d = dw_model_description(f->m);
    const dw_lora_spec *lora = dw_model_lora(f->m);
    dw_buf_printf(b, "model       %s (%s)\n", dw_model_dir(f->m), d->family);
    text_shape(b, d);
    dw_buf_adds(b, "parameters  ");
    put_count(b, dw_model_n_params(f->m));
    dw_buf_printf(b, " in %zu tensors, stored as", f->n_tensor);
    for (int t = 0; t < DW_N_DTYPE; t++)
        if (f->stored[t])
            dw_buf_printf(b, " %s", dw_dtype_name((dw_dtype)t));
    dw_buf_printf(b, " (config.json: %s)\n", d->dtype);
    if (lora) {
        dw_buf_printf(b, "adapter     %s, rank %u, alpha %g%s on ", f->dir, lora->rank, lora->alpha,
                      lora->rslora ? " (rslora)" : "");
        put_targets(b, lora->targets, "", " ");
        dw_buf_adds(b, ", ");
        put_count(b, dw_model_n_adapter_params(f->m));
        dw_buf_adds(b, " parameters\n");
    }
    text_ids(b, f);
    dw_buf_printf(b, "memory      train all with AdamW, %d sequences of %u tokens at once: ",
                  SEQUENCES, f->mem.tokens);
    put_bytes(b, f->mem.full);
    dw_buf_printf(b, "\n            train LoRA of rank %u, the same: ", f->mem.rank);
    put_bytes(b, f->mem.lora);
    dw_buf_printf(b, "\n            decode %d sequences of %u tokens: ", LIVE, f->mem.tokens);
    put_bytes(b, f->mem.decode);
    dw_buf_addc(b, '\n');
}

static dw_status inspect(facts *f, bool json, dw_err *err)
{
    const dw_model_options o = {.no_tokenizer = true};
    dw_buf b = {0};
    DW_TRY(dw_model_outline(&f->x, f->dir, &o, &f->m, err));
    DW_TRY(count_stored(f, err));
    DW_TRY(find_template(f, err));
    DW_TRY(estimate(f, err));
    if (json)
        put_json(&b, f);
    else
        put_text(&b, f);
    size_t n = fwrite(b.ptr, 1, b.len, stdout);
    bool ok = n == b.len && !fflush(stdout);
    dw_buf_finish(&b);
    return ok ? DW_OK : dw_fail(err, DW_E_IO, "cannot write to standard output");
}

dw_status dw_cmd_inspect(int argc, char **argv, dw_err *err)
{
    bool json = false, help = false;
    const char *word[1];
    const dw_arg arg[] = {
        {"--json", DW_ARG_FLAG, &json, 0, 0, NULL, "one JSON object; memory in bytes"},
    };
    DW_TRY(dw_args_parse(argc, argv, "dowel inspect MODEL", arg, sizeof arg / sizeof *arg, word, 1,
                         1, &help, err));
    if (help)
        return DW_OK;
    facts f = {.dir = word[0]};
    DW_TRY(dw_exec_init(&f.x, 0, NULL, err));
    dw_status st = inspect(&f, json, err);
    dw_model_free(f.m);
    dw_exec_finish(&f.x);
    return st;
}
