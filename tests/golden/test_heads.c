/* Classification models and adapters of make_heads.py: scores and gradients agree with transformers
 * and PEFT. With DOWEL_HEADS_OUT set, every kind of checkpoint that we write goes into that folder
 * with its scores, for check_heads.py to load. */
#include "folder.h"

#include <math.h>

#include "base/alloc.h"
#include "base/json.h"
#include "model/engine_internal.h"
#include "model/weights.h"

enum { SEQUENCES = 4, MAX_LEN = 12, ROWS = SEQUENCES * MAX_LEN, WIDTH = 3 };

static dw_exec exec;

/* The sequences of one case, and the rows that are read: the last of each, or all. */
typedef struct batch {
    int32_t id[ROWS];
    dw_segment seg[SEQUENCES];
    uint32_t row[ROWS];
    double coefficient[ROWS * WIDTH];
    size_t n_row, n_read;
} batch;

static void must(dw_status st, const dw_err *err)
{
    if (st < 0)
        fail_msg("%s", err->text);
}

static const dw_json *item(folder *f, const dw_json *root, const char *key, int i)
{
    const dw_json *v = dw_json_path(root, dw_arena_printf(&f->arena, "%s.%d", key, i));
    assert_non_null(v);
    return v;
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

static void read_batch(folder *f, const dw_json *numbers, bool token, batch *b)
{
    size_t used = 0;
    *b = (batch){0};
    for (int i = 0; i < SEQUENCES; i++) {
        double ids[MAX_LEN];
        size_t n = put_numbers(item(f, numbers, "sequences", i), ids);
        b->seg[i] = (dw_segment){(uint32_t)b->n_row, (uint32_t)n, -1, 0};
        for (size_t k = 0; k < n; k++)
            b->id[b->n_row++] = (int32_t)ids[k];
        for (size_t k = token ? 0 : n - 1; k < n; k++)
            b->row[b->n_read++] = (uint32_t)(b->seg[i].start + k);
        used += put_numbers(item(f, numbers, "coefficients", i), b->coefficient + used);
    }
}

static void close_to(folder *f, dw_checkpoint *c, const char *name, const dw_real *got,
                     double tolerance)
{
    dw_err err = {{0}};
    const dw_tensor_entry *e = dw_checkpoint_find(c, name);
    if (!e)
        fail_msg("%s is not in expected.safetensors", name);
    dw_real *want = dw_arena_alloc(&f->arena, (size_t)e->n * sizeof *want);
    double diff = 0, norm = 0;
    must(dw_tensor_read(e, want, &err), &err);
    for (size_t i = 0; i < e->n; i++) {
        diff += pow((double)got[i] - (double)want[i], 2);
        norm += pow((double)want[i], 2);
    }
    if (!(norm > 0 && sqrt(diff / norm) <= tolerance))
        fail_msg("%s: relative distance %g is above %g", name, sqrt(diff / norm), tolerance);
}

static void scores_of(dw_engine *e, const batch *b, unsigned flags, double *out)
{
    dw_err err = {{0}};
    const dw_forest forest = {b->id, b->n_row, b->seg, SEQUENCES};
    must(dw_engine_forward(e, &forest, flags, &err), &err);
    must(dw_engine_read(e, DW_READ_SCORE, b->row, b->n_read, out, &err), &err);
}

static void run(void **state)
{
    const char *name = *state;
    folder f;
    batch b;
    dw_err err = {{0}};
    dw_model *m = NULL;
    dw_engine *e = NULL;
    dw_json *numbers = NULL;
    dw_checkpoint *c = NULL;
    dw_slice *slice = NULL;
    double score[ROWS * WIDTH];
    folder_begin(&f);
    char *dir = golden(&f, dw_arena_printf(&f.arena, "heads/%s", name));
    const dw_model_options o = {.trainable = true, .no_tokenizer = true};
    must(dw_model_open(&exec, dir, &o, &m, &err), &err);
    must(dw_engine_create(m, &e, &err), &err);
    must(dw_json_read(dw_path_join(&f.arena, dir, "expected.json"), 1 << 20, &numbers, &err), &err);
    must(dw_checkpoint_open_file(dw_path_join(&f.arena, dir, "expected.safetensors"), &c, &err),
         &err);
    const bool token = strstr(name, "_tok") != NULL;
    assert_int_equal(dw_model_top(m), token ? DW_TOP_TOKEN : DW_TOP_SEQUENCE);
    read_batch(&f, numbers, token, &b);
    scores_of(e, &b, DW_PASS_SAVE, score);

    const size_t width = dw_model_score_width(m);
    double loss = 0;
    for (size_t i = 0; i < b.n_read * width; i++)
        loss += b.coefficient[i] * score[i];
    const double want = dw_json_num(dw_json_get(numbers, "loss"));
    assert_true(fabs(loss - want) <= 1e-5 * (1 + fabs(want)));
    for (size_t i = 0, at = 0; i < SEQUENCES; i++) {
        dw_real x[MAX_LEN * WIDTH];
        const size_t n = token ? b.seg[i].len * width : width;
        for (size_t k = 0; k < n; k++)
            x[k] = (dw_real)score[at++];
        close_to(&f, c, dw_arena_printf(&f.arena, "scores.%zu", i), x, 1e-5);
    }

    dw_params *p = dw_model_trained(m);
    memset(p->g, 0, p->n * sizeof *p->g);
    must(dw_engine_backward(e, &(dw_engine_grads){.score = b.coefficient}, &err), &err);
    const size_t n = dw_model_has_adapter(m)
                         ? dw_weights_adapter_slices(&f.arena, &m->desc, &m->lora, p, &slice)
                         : dw_weights_slices(&f.arena, &m->desc, p, &slice);
    for (size_t i = 0; i < n; i++)
        close_to(&f, c, dw_arena_printf(&f.arena, "grad.%s", slice[i].name),
                 p->g + (dw_slice_values(p, &slice[i]) - p->w), 1e-4);
    assert_int_equal(dw_checkpoint_count(c), n + SEQUENCES);
    dw_engine_destroy(e);
    dw_model_free(m);
    dw_json_free(numbers);
    dw_checkpoint_close(c);
    folder_end(&f);
}

/* ---- what we write ---- */

/* Every parameter a little further, so that nothing is what it was when it was made. */
static void train(dw_model *m)
{
    dw_params *p = dw_model_trained(m);
    for (size_t w = 0; w < p->n_weight; w++)
        for (size_t i = 0; i < (size_t)p->weight[w].rows * p->weight[w].cols; i++)
            p->w[p->weight[w].offset + i] += (dw_real)(0.05 * sin((double)(i + 7 * w)));
    dw_model_changed(m);
}

static void put_scores(folder *f, const char *dir, const batch *b, const double *score,
                       size_t width)
{
    dw_err err = {{0}};
    dw_buf t = {0};
    dw_buf_adds(&t, "{\"sequences\": [");
    for (int i = 0; i < SEQUENCES; i++) {
        dw_buf_adds(&t, i ? ", [" : "[");
        for (uint32_t k = 0; k < b->seg[i].len; k++)
            dw_buf_printf(&t, "%s%d", k ? ", " : "", b->id[b->seg[i].start + k]);
        dw_buf_addc(&t, ']');
    }
    dw_buf_adds(&t, "], \"scores\": [");
    for (size_t i = 0; i < b->n_read * width; i++) {
        dw_buf_adds(&t, i ? ", " : "");
        dw_json_put_num(&t, score[i]);
    }
    dw_buf_adds(&t, "]}\n");
    must(dw_file_write(dw_path_join(&f->arena, dir, "scores.json"), t.ptr, t.len, &err), &err);
    dw_buf_finish(&t);
}

/* Opens, trains, saves, opens again: the same scores; leaves the folder for check_heads.py. */
static void save(void **state)
{
    static const dw_lora_spec lora = {.rank = 2, .alpha = 4, .targets = DW_LORA_Q | DW_LORA_UP};
    static const struct {
        const char *from, *to;
        dw_top top;
        uint32_t labels;
        bool lora, merged;
    } rows[] = {
        {"llama/tied", "llama_seq", DW_TOP_SEQUENCE, 1, false, false},
        {"llama/untied_bias", "llama_tok", DW_TOP_TOKEN, 2, false, false},
        {"llama/mistral", "mistral_seq", DW_TOP_SEQUENCE, 3, false, false},
        {"llama/mistral", "mistral_tok", DW_TOP_TOKEN, 1, false, false},
        {"llama/qwen2", "qwen2_seq", DW_TOP_SEQUENCE, 2, false, false},
        {"llama/qwen3", "qwen3_tok", DW_TOP_TOKEN, 3, false, false},
        {"heads/llama_seq", "kept_seq", DW_TOP_LM, 3, false, false},
        {"heads/qwen2_tok", "kept_tok", DW_TOP_LM, 2, false, false},
        {"llama/qwen3", "lora_seq", DW_TOP_SEQUENCE, 2, true, false},
        {"llama/tied", "lora_tok", DW_TOP_TOKEN, 1, true, false},
        {"llama/tied", "merged_seq", DW_TOP_SEQUENCE, 1, true, true},
        {"heads/lora_tok", "again_tok", DW_TOP_LM, 1, false, false},
    };
    folder f;
    folder_begin(&f);
    const char *keep = getenv("DOWEL_HEADS_OUT");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        batch b;
        dw_err err = {{0}};
        dw_model *m = NULL;
        dw_engine *e = NULL;
        dw_json *numbers = NULL;
        double score[2][ROWS * WIDTH];
        char *dir = keep ? dw_path_join(&f.arena, keep, rows[i].to) : folder_file(&f, rows[i].to);
        const dw_model_options first = {.trainable = true,
                                        .no_tokenizer = true,
                                        .top = rows[i].top,
                                        .score_width = rows[i].labels,
                                        .seed = 5,
                                        .lora = rows[i].lora ? &lora : NULL};
        const dw_model_options later = {.no_tokenizer = true};
        must(dw_mkdirs(dir, &err), &err);
        for (int again = 0; again < 2; again++) {
            must(dw_model_open(&exec, again ? dir : golden(&f, rows[i].from),
                               again ? &later : &first, &m, &err),
                 &err);
            const bool token = dw_model_top(m) == DW_TOP_TOKEN;
            assert_int_equal(dw_model_score_width(m), rows[i].labels);
            must(dw_json_read(golden(&f, token ? "heads/llama_tok/expected.json"
                                               : "heads/llama_seq/expected.json"),
                              1 << 20, &numbers, &err),
                 &err);
            read_batch(&f, numbers, token, &b);
            if (!again)
                train(m);
            must(dw_engine_create(m, &e, &err), &err);
            scores_of(e, &b, 0, score[again]);
            if (!again && dw_model_has_adapter(m) && !rows[i].merged)
                must(dw_model_save_adapter(m, dir, &err), &err);
            else if (!again)
                must(dw_model_save(m, dir, DW_SAVE_SOURCE, &err), &err);
            if (!again)
                put_scores(&f, dir, &b, score[0], rows[i].labels);
            dw_engine_destroy(e);
            dw_model_free(m);
            dw_json_free(numbers);
        }
        for (size_t k = 0; k < b.n_read * rows[i].labels; k++)
            if (!(fabs(score[0][k] - score[1][k]) <= (rows[i].merged ? 1e-5 : 0)))
                fail_msg("%s: score %zu is %.9g, saved and read %.9g", rows[i].to, k, score[0][k],
                         score[1][k]);
    }
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
        CASE("llama_seq"), CASE("llama_tok"), CASE("qwen3_seq"),      CASE("qwen2_tok"),
        CASE("lora_seq"),  CASE("lora_tok"),  cmocka_unit_test(save),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
