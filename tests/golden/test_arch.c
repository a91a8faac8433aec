/* The models of make_arch.py, one of each family: logits or scores and the gradient of every
 * parameter agree with transformers and PyTorch, the cache of keys gives the bits of the whole
 * sequence, and what is saved is what was read, bit for bit. With DOWEL_ARCH_OUT set, what is saved
 * goes into that folder with the logits or scores it gives, for check_arch.py to load. */
#include "folder.h"

#include <math.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/json.h"
#include "model/frozen.h"
#include "model/generate_internal.h"
#include "model/weights.h"

enum { SEQUENCES = 3, MAX_LEN = 24, ROWS = SEQUENCES * MAX_LEN, VOCAB = 47, WIDTH = 3, LONG = 80 };

static dw_exec exec;

/* One case: the model, its sequences, and what is expected. */
typedef struct fixture {
    folder f;
    char *dir;
    dw_model *m;
    dw_engine *e;
    dw_json *numbers;
    dw_checkpoint *tensors;
    int32_t id[ROWS];
    dw_segment seg[SEQUENCES];
    size_t n_row;
    double worst_output, worst_gradient;
} fixture;

static void must(dw_status st, const dw_err *err)
{
    if (st < 0)
        fail_msg("%s", err->text);
}

static size_t put_numbers(const dw_json *v, double *out)
{
    size_t n = 0;
    for (const dw_json *x = dw_json_first(v); x; x = dw_json_next(x))
        if (dw_json_kind(x) == DW_JSON_NUMBER)
            out[n++] = dw_json_num(x);
        else
            n += put_numbers(x, out + n);
    return n;
}

static void begin(fixture *x, const char *name)
{
    dw_err err = {{0}};
    memset(x, 0, sizeof *x);
    folder_begin(&x->f);
    x->dir = golden(&x->f, dw_arena_printf(&x->f.arena, "arch/%s", name));
    const dw_model_options o = {.trainable = true, .no_tokenizer = true};
    must(dw_model_open(&exec, x->dir, &o, &x->m, &err), &err);
    must(dw_engine_create(x->m, &x->e, &err), &err);
    must(dw_json_read(dw_path_join(&x->f.arena, x->dir, "expected.json"), 1 << 20, &x->numbers,
                      &err),
         &err);
    must(dw_checkpoint_open_file(dw_path_join(&x->f.arena, x->dir, "expected.safetensors"),
                                 &x->tensors, &err),
         &err);
    for (int i = 0; i < SEQUENCES; i++) {
        double ids[MAX_LEN];
        const dw_json *v =
            dw_json_path(x->numbers, dw_arena_printf(&x->f.arena, "sequences.%d", i));
        assert_in_range(dw_json_len(v), 2, MAX_LEN);
        const size_t n = put_numbers(v, ids);
        x->seg[i] = (dw_segment){(uint32_t)x->n_row, (uint32_t)n, -1, 0};
        for (size_t k = 0; k < n; k++)
            x->id[x->n_row++] = (int32_t)ids[k];
    }
}

static void end(fixture *x)
{
    dw_engine_destroy(x->e);
    dw_model_free(x->m);
    dw_json_free(x->numbers);
    dw_checkpoint_close(x->tensors);
    folder_end(&x->f);
}

/* || got - want || / || want ||, want by its name in expected.safetensors. */
static void close_enough(fixture *x, const char *name, const dw_real *got, double tolerance,
                         double *worst)
{
    dw_err err = {{0}};
    const dw_tensor_entry *e = dw_checkpoint_find(x->tensors, name);
    if (!e)
        fail_msg("%s is not in expected.safetensors", name);
    dw_real *want = dw_arena_alloc(&x->f.arena, (size_t)e->n * sizeof *want);
    double diff = 0, norm = 0;
    must(dw_tensor_read(e, want, &err), &err);
    for (size_t i = 0; i < e->n; i++) {
        diff += pow((double)got[i] - (double)want[i], 2);
        norm += pow((double)want[i], 2);
    }
    const double d = norm > 0 ? sqrt(diff / norm) : sqrt(diff);
    if (!(d <= tolerance))
        fail_msg("%s: relative distance %g is above %g", name, d, tolerance);
    *worst = d > *worst ? d : *worst;
}

static void forward(fixture *x, unsigned flags)
{
    dw_err err = {{0}};
    const dw_forest f = {x->id, x->n_row, x->seg, SEQUENCES};
    must(dw_engine_forward(x->e, &f, flags, &err), &err);
}

static void check_loss(fixture *x, double got)
{
    const double want = dw_json_num(dw_json_get(x->numbers, "loss"));
    if (!(fabs(got - want) <= 1e-5 * (1 + fabs(want))))
        fail_msg("loss %.9g, wanted %.9g", got, want);
}

/* Logits, and -logp of every token but the first of a sequence. */
static void run_language(fixture *x)
{
    dw_err err = {{0}};
    static dw_real logits[MAX_LEN * VOCAB];
    dw_head_pair pair[ROWS];
    double logp[ROWS], d_logp[ROWS], loss = 0;
    size_t n = 0;
    const dw_head_spec h = dw_head_of(x->m, 1);
    forward(x, DW_PASS_SAVE);
    must(dw_frozen_need(x->m, &x->m->head, &err), &err);
    for (int i = 0; i < SEQUENCES; i++) {
        const dw_segment *s = &x->seg[i];
        dw_head_logits(&exec, &h, dw_engine_hidden(x->e) + s->start * h.d, h.d, s->len, logits);
        close_enough(x, dw_arena_printf(&x->f.arena, "logits.%d", i), logits, 1e-5,
                     &x->worst_output);
        for (uint32_t r = s->start; r + 1 < s->start + s->len; r++)
            pair[n++] = (dw_head_pair){r, x->id[r + 1]};
    }
    dw_head_out out = {.logp = logp};
    must(dw_engine_head(x->e, pair, n, 1, (dw_head_wants){0}, &out, &err), &err);
    for (size_t i = 0; i < n; i++) {
        loss -= logp[i] / (double)n;
        d_logp[i] = -1 / (double)n;
    }
    check_loss(x, loss);
    must(dw_engine_backward(x->e, &(dw_engine_grads){.logp = d_logp}, &err), &err);
}

static void run_scores(fixture *x)
{
    dw_err err = {{0}};
    uint32_t row[ROWS];
    double score[ROWS * WIDTH], coefficient[ROWS * WIDTH], loss = 0;
    const bool token = dw_model_top(x->m) == DW_TOP_TOKEN;
    const size_t width = dw_model_score_width(x->m);
    size_t n = 0, at = 0;
    for (int i = 0; i < SEQUENCES; i++)
        for (uint32_t k = token ? 0 : x->seg[i].len - 1; k < x->seg[i].len; k++)
            row[n++] = x->seg[i].start + k;
    forward(x, DW_PASS_SAVE);
    must(dw_engine_read(x->e, DW_READ_SCORE, row, n, score, &err), &err);
    assert_int_equal(put_numbers(dw_json_get(x->numbers, "coefficients"), coefficient), n * width);
    for (size_t i = 0; i < n * width; i++)
        loss += coefficient[i] * score[i];
    check_loss(x, loss);
    for (int i = 0; i < SEQUENCES; i++) {
        dw_real got[MAX_LEN * WIDTH];
        for (size_t k = 0; k < (token ? x->seg[i].len : 1) * width; k++)
            got[k] = (dw_real)score[at++];
        close_enough(x, dw_arena_printf(&x->f.arena, "logits.%d", i), got, 1e-5, &x->worst_output);
    }
    must(dw_engine_backward(x->e, &(dw_engine_grads){.score = coefficient}, &err), &err);
}

static void check_gradients(fixture *x)
{
    dw_slice *slice = NULL;
    const dw_params *p = dw_model_trained(x->m);
    const size_t n =
        dw_model_has_adapter(x->m)
            ? dw_weights_adapter_slices(&x->f.arena, &x->m->desc, &x->m->lora, p, &slice)
            : dw_weights_slices(&x->f.arena, &x->m->desc, p, &slice);
    for (size_t i = 0; i < n; i++) {
        const dw_slice *s = &slice[i];
        const dw_real *g = p->g + (dw_slice_values(p, s) - p->w);
        if (s->transposed) {
            dw_real *turned =
                dw_arena_alloc(&x->f.arena, (size_t)s->rows * s->cols * sizeof *turned);
            dw_slice_turn(g, s->rows, s->cols, turned);
            g = turned;
        }
        close_enough(x, dw_arena_printf(&x->f.arena, "grad.%s", s->name), g, 1e-4,
                     &x->worst_gradient);
    }
    assert_int_equal(dw_checkpoint_count(x->tensors), n + SEQUENCES);
}

/* Token by token through the cache, beyond a page and every window where the model goes that far.
 */
static void check_cache(fixture *x)
{
    dw_kv kv;
    dw_decoder dec;
    dw_err err = {{0}};
    dw_real *page[2];
    int32_t id[LONG];
    const dw_description *d = &x->m->desc;
    const uint32_t n = d->max_positions < LONG ? d->max_positions : LONG;
    for (uint32_t i = 0; i < n; i++)
        id[i] = (int32_t)((i * i + 7 * i + 3) % d->vocab);
    const dw_segment seg = {0, n, -1, 0};
    const dw_forest f = {id, n, &seg, 1};
    must(dw_engine_forward(x->e, &f, 0, &err), &err);
    dw_kv_init(&kv, x->m);
    must(dw_decoder_init(&dec, x->m, 1, true, &err), &err);
    for (int i = 0; i < 2; i++)
        assert_non_null(page[i] = dw_kv_take(&kv, &err));
    for (uint32_t pos = 0; pos < n; pos++) {
        const dw_decode_row row = {id[pos], pos, page};
        const dw_real *hidden = dw_decoder_step(&dec, &kv, &row, 1);
        if (memcmp(hidden, dw_engine_hidden(x->e) + (size_t)pos * d->d, d->d * sizeof *hidden))
            fail_msg("the cache gives other bits at position %u", pos);
    }
    dw_decoder_finish(&dec);
    dw_kv_finish(&kv);
}

static void same_tensors(const char *a, const char *b)
{
    dw_err err = {{0}};
    dw_checkpoint *x = NULL, *y = NULL;
    must(dw_file_exists(a) ? dw_checkpoint_open_file(a, &x, &err) : dw_checkpoint_open(a, &x, &err),
         &err);
    must(dw_file_exists(b) ? dw_checkpoint_open_file(b, &y, &err) : dw_checkpoint_open(b, &y, &err),
         &err);
    assert_int_equal(dw_checkpoint_count(x), dw_checkpoint_count(y));
    for (size_t i = 0; i < dw_checkpoint_count(x); i++) {
        const dw_tensor_entry *e = dw_checkpoint_at(x, i), *o = dw_checkpoint_find(y, e->name);
        if (!o)
            fail_msg("%s is gone", e->name);
        assert_true(e->dtype == o->dtype && e->n_dim == o->n_dim && e->bytes == o->bytes);
        assert_memory_equal(e->dim, o->dim, e->n_dim * sizeof *e->dim);
        if (memcmp(e->data, o->data, (size_t)e->bytes) != 0)
            fail_msg("%s has other bits", e->name);
    }
    dw_checkpoint_close(x);
    dw_checkpoint_close(y);
}

static bool same_member(const dw_json *a, const dw_json *b, const char *key)
{
    const dw_json *x = dw_json_get(a, key), *y = dw_json_get(b, key);
    if (!x || !y || dw_json_kind(x) != dw_json_kind(y))
        return false;
    switch (dw_json_kind(x)) {
    case DW_JSON_BOOL:
        return dw_json_bool(x) == dw_json_bool(y);
    case DW_JSON_NUMBER:
        return dw_json_num(x) == dw_json_num(y);
    case DW_JSON_STRING:
        return !strcmp(dw_json_str(x).ptr, dw_json_str(y).ptr);
    default:
        return dw_json_kind(x) == DW_JSON_NULL;
    }
}

/* PEFT lists targets in any order. */
static void same_targets(const dw_json *a, const dw_json *b)
{
    const dw_json *x = dw_json_get(a, "target_modules"), *y = dw_json_get(b, "target_modules");
    assert_int_equal(dw_json_len(x), dw_json_len(y));
    for (const dw_json *v = dw_json_first(x); v; v = dw_json_next(v)) {
        const dw_json *w = dw_json_first(y);
        while (w && strcmp(dw_json_str(v).ptr, dw_json_str(w).ptr) != 0)
            w = dw_json_next(w);
        if (!w)
            fail_msg("%s is no target any more", dw_json_str(v).ptr);
    }
}

/* The file that PEFT wrote, by its own names, and the settings that say what it means. */
static void same_adapter(fixture *x, const char *out)
{
    static const char *const keys[] = {"r",          "lora_alpha", "fan_in_fan_out", "task_type",
                                       "use_rslora", "peft_type",  "bias",           "use_dora"};
    dw_err err = {{0}};
    dw_json *a = NULL, *b = NULL;
    dw_arena *m = &x->f.arena;
    must(dw_model_save_adapter(x->m, out, &err), &err);
    same_tensors(dw_path_join(m, x->dir, "adapter_model.safetensors"),
                 dw_path_join(m, out, "adapter_model.safetensors"));
    must(dw_json_read(dw_path_join(m, x->dir, "adapter_config.json"), 1 << 20, &a, &err), &err);
    must(dw_json_read(dw_path_join(m, out, "adapter_config.json"), 1 << 20, &b, &err), &err);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!same_member(a, b, keys[i]))
            fail_msg("adapter_config.json: %s is another", keys[i]);
    same_targets(a, b);
    dw_json_free(a);
    dw_json_free(b);
}

/* Through the engine and back: the same tensors, and config.json byte for byte. */
static void same_model(fixture *x, const char *out)
{
    dw_err err = {{0}};
    dw_buf a = {0}, b = {0};
    must(dw_model_save(x->m, out, DW_SAVE_SOURCE, &err), &err);
    same_tensors(x->dir, out);
    must(dw_file_read(dw_path_join(&x->f.arena, x->dir, "config.json"), 1 << 20, &a, &err), &err);
    must(dw_file_read(dw_path_join(&x->f.arena, out, "config.json"), 1 << 20, &b, &err), &err);
    assert_string_equal(a.ptr, b.ptr);
    dw_buf_finish(&a);
    dw_buf_finish(&b);
}

/* The folder `name` to save into. */
static char *make_dir(fixture *x, const char *kind, const char *name)
{
    dw_err err = {{0}};
    const char *root = getenv("DOWEL_ARCH_OUT");
    char *dir = dw_arena_printf(&x->f.arena, "%s/%s%s", root ? root : x->f.path, kind, name);
    must(dw_mkdirs(dir, &err), &err);
    return dir;
}

/* logits.<i> of the sequences beside a saved model, by another model if m is not the fixture's. */
static void outputs_of(fixture *x, dw_model *m, size_t width, dw_real *out)
{
    dw_err err = {{0}};
    dw_engine *e = NULL;
    const dw_forest f = {x->id, x->n_row, x->seg, SEQUENCES};
    must(dw_engine_create(m, &e, &err), &err);
    must(dw_engine_forward(e, &f, 0, &err), &err);
    if (dw_model_top(m) == DW_TOP_LM) {
        const dw_head_spec h = dw_head_of(m, 1);
        must(dw_frozen_need(m, &m->head, &err), &err);
        dw_head_logits(&exec, &h, dw_engine_hidden(e), h.d, x->n_row, out);
    } else {
        uint32_t row[ROWS];
        double score[ROWS * WIDTH];
        for (uint32_t i = 0; i < x->n_row; i++)
            row[i] = i;
        must(dw_engine_read(e, DW_READ_SCORE, row, x->n_row, score, &err), &err);
        for (size_t i = 0; i < x->n_row * width; i++)
            out[i] = (dw_real)score[i];
    }
    dw_engine_destroy(e);
}

static void put_outputs(fixture *x, dw_model *m, const char *dir)
{
    dw_err err = {{0}};
    const size_t width = dw_model_top(m) == DW_TOP_LM ? VOCAB : dw_model_score_width(m);
    static dw_real out[ROWS * VOCAB], ids[ROWS];
    outputs_of(x, m, width, out);
    dw_tensor_out t[2 * SEQUENCES];
    for (int i = 0; i < SEQUENCES; i++) {
        const dw_segment *s = &x->seg[i];
        for (uint32_t k = 0; k < s->len; k++)
            ids[s->start + k] = (dw_real)x->id[s->start + k];
        t[2 * i] = (dw_tensor_out){.name = dw_arena_printf(&x->f.arena, "logits.%d", i),
                                   .dtype = DW_DT_F32,
                                   .n_dim = 2,
                                   .dim = {s->len, width},
                                   .values = out + s->start * width};
        t[2 * i + 1] = (dw_tensor_out){.name = dw_arena_printf(&x->f.arena, "ids.%d", i),
                                       .dtype = DW_DT_F32,
                                       .n_dim = 1,
                                       .dim = {s->len},
                                       .values = ids + s->start};
    }
    must(dw_safetensors_write(dw_path_join(&x->f.arena, dir, "outputs.st"), t, 2 * SEQUENCES, NULL,
                              0, &err),
         &err);
}

/* Merged, saved and read again: the adapter is in the weights, turned ones too. */
static void check_merged(fixture *x, const char *name)
{
    dw_err err = {{0}};
    dw_model *m = NULL;
    static dw_real a[ROWS * VOCAB], b[ROWS * VOCAB];
    double diff = 0, norm = 0;
    char *dir = make_dir(x, "merged_", name);
    const dw_model_options o = {.no_tokenizer = true};
    must(dw_model_save(x->m, dir, DW_SAVE_SOURCE, &err), &err);
    must(dw_model_open(&exec, dir, &o, &m, &err), &err);
    const size_t width = dw_model_top(m) == DW_TOP_LM ? VOCAB : dw_model_score_width(m);
    outputs_of(x, x->m, width, a);
    outputs_of(x, m, width, b);
    for (size_t i = 0; i < x->n_row * width; i++) {
        diff += pow((double)a[i] - (double)b[i], 2);
        norm += pow((double)a[i], 2);
    }
    if (!(norm > 0 && sqrt(diff / norm) <= 1e-5))
        fail_msg("merged: relative distance %g", sqrt(diff / norm));
    put_outputs(x, m, dir);
    dw_model_free(m);
}

static void check_saved(fixture *x, const char *name)
{
    char *out = make_dir(x, "", name);
    if (dw_model_has_adapter(x->m)) {
        same_adapter(x, out);
        check_merged(x, name);
    } else {
        same_model(x, out);
    }
    put_outputs(x, x->m, out);
}

static void run(void **state)
{
    static fixture x;
    begin(&x, *state);
    dw_params *p = dw_model_trained(x.m);
    memset(p->g, 0, p->n * sizeof *p->g);
    if (dw_model_top(x.m) == DW_TOP_LM)
        run_language(&x);
    else
        run_scores(&x);
    check_gradients(&x);
    check_cache(&x);
    check_saved(&x, *state);
    print_message("# %s: worst relative distance of %s %.1e, gradients %.1e\n",
                  (const char *)*state, dw_model_top(x.m) == DW_TOP_LM ? "logits" : "scores",
                  x.worst_output, x.worst_gradient);
    end(&x);
}

/* A fresh score head in place of the vocabulary's: saved as the family's own class. */
static void fresh(void **state)
{
    static const struct {
        const char *from;
        dw_top top;
    } rows[] = {
        {"gpt2", DW_TOP_SEQUENCE},       {"gpt2", DW_TOP_TOKEN},    {"gpt2_old", DW_TOP_TOKEN},
        {"gemma", DW_TOP_TOKEN},         {"gemma2", DW_TOP_TOKEN},  {"gemma3", DW_TOP_SEQUENCE},
        {"gemma3_old", DW_TOP_SEQUENCE}, {"phi3", DW_TOP_SEQUENCE}, {"phi3", DW_TOP_TOKEN}};
    static fixture x;
    static dw_real a[ROWS * WIDTH], b[ROWS * WIDTH];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const bool token = rows[i].top == DW_TOP_TOKEN;
        dw_model_options o = {
            .no_tokenizer = true, .top = rows[i].top, .score_width = 2, .seed = 3};
        dw_model *m = NULL, *again = NULL;
        dw_err err = {{0}};
        begin(&x, rows[i].from);
        char *dir =
            make_dir(&x, "fresh_",
                     dw_arena_printf(&x.f.arena, "%s_%s", rows[i].from, token ? "tok" : "seq"));
        must(dw_model_open(&exec, x.dir, &o, &m, &err), &err);
        must(dw_model_save(m, dir, DW_SAVE_SOURCE, &err), &err);
        o = (dw_model_options){.no_tokenizer = true};
        must(dw_model_open(&exec, dir, &o, &again, &err), &err);
        assert_int_equal(dw_model_top(again), rows[i].top);
        outputs_of(&x, m, 2, a);
        outputs_of(&x, again, 2, b);
        for (size_t k = 0; k < x.n_row * 2; k++) /* the head is stored as float32 */
            assert_true(fabs((double)(a[k] - b[k])) <= 1e-6 * (1 + fabs((double)a[k])));
        put_outputs(&x, again, dir);
        dw_model_free(m);
        dw_model_free(again);
        end(&x);
    }
}

/* transformers has no such class: the checkpoint could not be read by anyone. */
static void no_class(void **state)
{
    folder f;
    dw_err err = {{0}};
    dw_model *m = NULL;
    folder_begin(&f);
    char *dir = golden(&f, "arch/gemma3");
    const dw_model_options o = {.no_tokenizer = true, .top = DW_TOP_TOKEN};
    assert_int_equal(dw_model_open(&exec, dir, &o, &m, &err), DW_E_INPUT);
    assert_string_equal(after_path(&err, dw_path_join(&f.arena, dir, "config.json")),
                        "gemma3_text has no class for TokenClassification in transformers");
    folder_end(&f);
}

static int setup(void **state)
{
    dw_err err = {{0}};
    return dw_exec_init(&exec, 2, NULL, &err);
}

static int teardown(void **state)
{
    dw_exec_finish(&exec);
    return 0;
}

#define CASE(name)                                                                                 \
    {                                                                                              \
        name, run, NULL, NULL, (void *)(name)                                                      \
    }
int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE("gpt2"),
        CASE("gpt2_old"),
        CASE("gemma"),
        CASE("gemma2"),
        CASE("gemma3"),
        CASE("gemma3_old"),
        CASE("gemma3_parts"),
        CASE("gemma3_bf16"),
        CASE("phi3"),
        CASE("phi3_long"),
        CASE("yarn"),
        CASE("dynamic"),
        CASE("gpt2_seq"),
        CASE("gpt2_tok"),
        CASE("gemma_seq"),
        CASE("gemma2_tok"),
        CASE("gemma3_seq"),
        CASE("phi3_seq"),
        CASE("phi3_tok"),
        CASE("lora_gpt2"),
        CASE("lora_gpt2_some"),
        CASE("lora_gpt2_tok"),
        CASE("lora_gemma3"),
        CASE("lora_gemma2"),
        CASE("lora_phi3"),
        CASE("lora_phi3_seq"),
        cmocka_unit_test(fresh),
        cmocka_unit_test(no_class),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
