/* Frozen models: mapped and packed alone, they compute what a model with all weights in memory
 * does, to the bit, as floats and as bf16; values that are not finite are found when they are
 * needed. */
#include "model_files.h"

#include <math.h>

#include "model/engine_internal.h"
#include "model/frozen.h"

enum { ROWS = 40, MOST_VOCAB = 128 };

typedef struct answers {
    dw_real logits[ROWS * MOST_VOCAB];
    double logp[ROWS];
    dw_real grad[40000]; /* of the adapter */
    size_t n_grad, vocab;
} answers;

static void put_logits(dw_model *m, dw_engine *e, answers *a)
{
    const dw_head_spec h = dw_head_of(m, 1);
    a->vocab = h.vocab;
    assert_in_range(h.vocab, 1, MOST_VOCAB);
    dw_head_logits(&exec, &h, dw_engine_hidden(e), h.d, ROWS, a->logits);
}

static void run(dw_model *m, answers *a)
{
    dw_err err = {{0}};
    dw_engine *e = NULL;
    int32_t id[ROWS];
    dw_head_pair pair[ROWS - 1];
    double d[ROWS];
    const dw_params *p = dw_model_trained(m);
    const dw_segment seg = {0, ROWS, -1, 0};
    const dw_forest f = {id, ROWS, &seg, 1};
    dw_head_out out = {.logp = a->logp};
    for (int i = 0; i < ROWS; i++)
        id[i] = (int32_t)((unsigned)(i * 7 + 3) % dw_model_description(m)->vocab);
    for (int i = 0; i + 1 < ROWS; i++) {
        pair[i] = (dw_head_pair){(uint32_t)i, id[i + 1]};
        d[i] = 1.0 / (i + 2);
    }
    *a = (answers){0};
    assert_int_equal(dw_engine_create(m, &e, &err), DW_OK);
    const unsigned flags = p->g ? DW_PASS_SAVE : 0;
    if (dw_engine_forward(e, &f, flags, &err) < 0 ||
        dw_engine_head(e, pair, ROWS - 1, 1, (dw_head_wants){false, false}, &out, &err) < 0)
        fail_msg("%s", err.text);
    put_logits(m, e, a);
    if (p->g) {
        assert_int_equal(dw_engine_backward(e, &(dw_engine_grads){.logp = d}, &err), DW_OK);
        a->n_grad = p->n;
        assert_in_range(p->n, 1, sizeof a->grad / sizeof *a->grad);
        memcpy(a->grad, p->g, p->n * sizeof *p->g);
    }
    dw_engine_destroy(e);
}

static const dw_lora_spec lora = {.rank = 2, .alpha = 4, .targets = DW_LORA_ALL};

static dw_model *opened(const char *dir, bool writable, dw_storage storage, bool adapted)
{
    dw_model_options o = {
        .no_tokenizer = true, .writable = writable, .storage = storage, .seed = 5};
    if (adapted) {
        o.lora = &lora;
        o.trainable = true;
    }
    dw_model *m = must_open(dir, &o);
    assert_true(writable == !m->frozen);
    dw_params *p = &m->adapter;
    for (size_t i = 0; i < p->n; i++)
        p->w[i] += (dw_real)(0.02 * sin((double)i));
    dw_model_changed(m);
    return m;
}

static void same_logits(const answers *a, const answers *b)
{
    assert_memory_equal(a->logits, b->logits, ROWS * a->vocab * sizeof *a->logits);
    assert_memory_equal(a->logp, b->logp, sizeof a->logp);
}

static answers one, two, three;

/* The gradients come from another product (tensor/linear.h), so they agree in value alone. */
static void check(const char *dir, bool adapted)
{
    char a[65], b[65];
    dw_model *m = opened(dir, true, DW_STORE_SOURCE, adapted);
    dw_model *x = opened(dir, false, DW_STORE_SOURCE, adapted);
    dw_model_hash(m, a);
    dw_model_hash(x, b); /* before anything was packed */
    assert_string_equal(a, b);
    run(m, &one);
    run(x, &two);
    same_logits(&one, &two);
    double diff = 0, norm = 0;
    for (size_t i = 0; i < one.n_grad; i++) {
        diff += pow((double)one.grad[i] - (double)two.grad[i], 2);
        norm += pow((double)one.grad[i], 2);
    }
    if (adapted && !(norm > 0 && diff <= 1e-10 * norm))
        fail_msg("%s: gradients differ by %g of their norm", dir, sqrt(diff / norm));
    assert_true(dw_model_bytes(x) < dw_model_bytes(m));
    dw_model_free(m);
    dw_model_free(x);
}

static void frozen_is_the_same_model(void **state)
{
    static const char *const cases[] = {"llama/tied", "llama/untied_bias", "llama/qwen3",
                                        "arch/gpt2",  "arch/gemma2",       "arch/gemma3_bf16",
                                        "arch/phi3"};
    folder f;
    folder_begin(&f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check(golden(&f, cases[i]), false);
        check(golden(&f, cases[i]), true);
    }
    folder_end(&f);
}

/* A bf16 checkpoint: kept as bf16 it is half as large and computes the same, gradients too; and so
 * does a float32 one that is rounded on the way in. */
static void bf16_has_the_bits_of_float(void **state)
{
    folder f;
    folder_begin(&f);
    dw_err err = {{0}};
    static const char *const cases[] = {"llama/tied", "llama/untied_bias", "arch/gpt2"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *from = golden(&f, cases[i]), *to = subdir(&f, dw_path_base(cases[i]));
        dw_model *m = must_open(from, &plain);
        assert_int_equal(dw_model_save(m, to, DW_SAVE_BF16, &err), DW_OK);
        dw_model_free(m);
        dw_model *half = opened(to, false, DW_STORE_SOURCE, true);
        dw_model *wide = opened(to, false, DW_STORE_F32, true);
        assert_int_equal(half->layer[0].down.panels.type, DW_PANEL_BF16);
        assert_int_equal(wide->layer[0].down.panels.type, DW_PANEL_REAL);
        assert_true(dw_model_bytes(half) < dw_model_bytes(wide));
        run(half, &one);
        run(wide, &two);
        same_logits(&one, &two);
        assert_memory_equal(one.grad, two.grad, one.n_grad * sizeof *one.grad);
        for (size_t k = 0; k < wide->base.n; k++) /* norms and biases are not rounded */
            assert_true(half->base.w[k] == wide->base.w[k]);
        char *saved = subdir(&f, dw_arena_printf(&f.arena, "%s-back", dw_path_base(cases[i])));
        dw_model_free(wide);
        dw_model_free(half);
        /* rounding on the way in keeps nothing else: what is saved is what was read */
        dw_model_options o = {.no_tokenizer = true, .storage = DW_STORE_BF16};
        m = must_open(from, &o);
        run(m, &three);
        assert_int_equal(dw_model_save(m, saved, DW_SAVE_SOURCE, &err), DW_OK);
        dw_model_free(m);
        same_file(&f, from, saved, "model.safetensors");
    }
    folder_end(&f);
}

static void bf16_of_float_rounds_matrices(void **state)
{
    folder f;
    folder_begin(&f);
    char *from = golden(&f, "llama/tied");
    dw_model *wide = opened(from, true, DW_STORE_SOURCE, false);
    for (size_t i = 0; i < wide->base.n_weight; i++) {
        const dw_weight *w = &wide->base.weight[i];
        dw_real *v = wide->base.w + w->offset;
        for (size_t k = 0; w->decay && k < (size_t)w->rows * w->cols; k++) {
            uint32_t u;
            float x = (float)v[k];
            memcpy(&u, &x, 4);
            u = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000;
            memcpy(&x, &u, 4);
            v[k] = (dw_real)x;
        }
    }
    dw_model_changed(wide);
    dw_model *half = opened(from, false, DW_STORE_BF16, false);
    char a[65], b[65];
    run(wide, &one);
    run(half, &two);
    same_logits(&one, &two);
    dw_model_hash(wide, a);
    dw_model_hash(half, b);
    assert_string_equal(a, b);
    dw_model_free(wide);
    dw_model_free(half);
    folder_end(&f);
}

/* ---- when it is read ---- */

static void packed_when_needed(void **state)
{
    folder f;
    folder_begin(&f);
    dw_err err = {{0}};
    dw_model *m = opened(golden(&f, "llama/tied"), false, DW_STORE_SOURCE, false);
    assert_false(m->layer[0].qkv.mapped->ready || m->embed.mapped->ready);
    assert_null(m->layer[0].qkv.w);
    assert_int_equal(dw_frozen_need_layer(m, 0, &err), DW_OK);
    assert_true(m->layer[0].qkv.mapped->ready && !m->layer[1].qkv.mapped->ready);
    assert_int_equal(dw_frozen_need_all(m, &err), DW_OK);
    assert_true(m->layer[1].down.mapped->ready && m->head.mapped->ready);
    dw_model_free(m);
    folder_end(&f);
}

static const char *spoiled;
static size_t spoil(dw_tensor_out *t, size_t n)
{
    static float copy[8192];
    dw_tensor_out *x = named(t, n, spoiled);
    const size_t len = (size_t)(x->dim[0] * x->dim[1]);
    assert_in_range(len, 6, 8192);
    memcpy(copy, x->raw, len * sizeof *copy);
    copy[5] = INFINITY;
    x->raw = copy;
    return n;
}

static void bad_values_are_found(void **state)
{
    static const char *const names[] = {"model.embed_tokens.weight",
                                        "model.layers.1.self_attn.v_proj.weight",
                                        "model.layers.0.mlp.down_proj.weight", "lm_head.weight"};
    folder f;
    folder_begin(&f);
    char *from = golden(&f, "llama/untied_bias"), *file = folder_file(&f, "model.safetensors");
    copy(&f, from, f.path, "config.json");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        dw_err err = {{0}};
        spoiled = names[i];
        rewrite(dw_path_join(&f.arena, from, "model.safetensors"), file, spoil);
        dw_model *m = opened(f.path, false, DW_STORE_SOURCE, false);
        char *want =
            dw_arena_printf(&f.arena, "%s: tensor \"%s\" holds inf at element 5", f.path, names[i]);
        assert_int_equal(dw_frozen_need_all(m, &err), DW_E_INPUT);
        assert_string_equal(err.text, want);
        assert_int_equal(dw_model_save(m, subdir(&f, dw_arena_printf(&f.arena, "o%zu", i)),
                                       DW_SAVE_SOURCE, &err),
                         DW_E_INPUT);
        assert_string_equal(err.text, want);
        dw_model_free(m);
    }
    folder_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frozen_is_the_same_model),
        cmocka_unit_test(bf16_has_the_bits_of_float),
        cmocka_unit_test(bf16_of_float_rounds_matrices),
        cmocka_unit_test(packed_when_needed),
        cmocka_unit_test(bad_values_are_found),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
