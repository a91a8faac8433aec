/* The engine against transformers and PyTorch (tests/golden/make_llama.py): logits, the gradients
 * of SFT, DPO and GRPO for every parameter, and ten AdamW steps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/json.h"
#include "model/weights.h"
#include "tensor/vector.h"
#include "tiny_model.h"

enum { SEQS = 4, MOST = 256 };

typedef struct fixture {
    const char *name;
    char dir[1024];
    dw_json *expected;
    dw_checkpoint *tensors;
    dw_model *m;
    dw_engine *e;
    int32_t id[MOST];
    dw_segment seg[SEQS];
    size_t n_row, n_seg;
    dw_head_pair pair[MOST]; /* of completion tokens */
    uint32_t first[SEQS + 1];
    double logp[MOST], d_logp[MOST];
} fixture;

static dw_exec exec;

static void open_case(fixture *f, const char *name)
{
    char path[1100];
    dw_err err = {{0}};
    const char *tests = getenv("DOWEL_TESTS");
    assert_non_null(tests);
    *f = (fixture){.name = name};
    snprintf(f->dir, sizeof f->dir, "%s/golden/llama/%s", tests, name);
    snprintf(path, sizeof path, "%s/expected.json", f->dir);
    if (dw_json_read(path, 1 << 20, &f->expected, &err) < 0)
        fail_msg("%s", err.text);
    snprintf(path, sizeof path, "%s/expected.safetensors", f->dir);
    if (dw_checkpoint_open_file(path, &f->tensors, &err) < 0)
        fail_msg("%s", err.text);
    const dw_model_options o = {.trainable = true, .no_tokenizer = true};
    if (dw_model_open(&exec, f->dir, &o, &f->m, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(dw_engine_create(f->m, &f->e, &err), 0);
    uint32_t n_pair = 0;
    for (const dw_json *s = dw_json_first(dw_json_get(f->expected, "sequences")); s;
         s = dw_json_next(s)) {
        const dw_json *ids = dw_json_get(s, "ids");
        const uint32_t n = (uint32_t)dw_json_len(ids), start = (uint32_t)f->n_row;
        const uint32_t prompt = (uint32_t)dw_json_num(dw_json_get(s, "completion"));
        for (const dw_json *v = dw_json_first(ids); v; v = dw_json_next(v))
            f->id[f->n_row++] = (int32_t)dw_json_num(v);
        for (uint32_t i = prompt; i < n; i++)
            f->pair[n_pair++] = (dw_head_pair){start + i - 1, f->id[start + i]};
        f->seg[f->n_seg] = (dw_segment){start, n, -1, 0};
        f->first[++f->n_seg] = n_pair;
    }
    assert_int_equal(f->n_seg, SEQS);
}

static void close_case(fixture *f)
{
    dw_engine_destroy(f->e);
    dw_model_free(f->m);
    dw_checkpoint_close(f->tensors);
    dw_json_free(f->expected);
}

static const dw_tensor_entry *expected(const fixture *f, const char *prefix, const char *name,
                                       dw_real **values)
{
    char full[256];
    dw_err err = {{0}};
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const dw_tensor_entry *t = dw_checkpoint_find(f->tensors, full);
    if (!t)
        return NULL;
    *values = dw_alloc(t->n * sizeof **values);
    if (dw_tensor_read(t, *values, &err) < 0)
        fail_msg("%s", err.text);
    return t;
}

static void forward(fixture *f)
{
    dw_err err = {{0}};
    const dw_forest forest = {f->id, f->n_row, f->seg, f->n_seg};
    dw_head_out out = {.logp = f->logp};
    if (dw_engine_forward(f->e, &forest, DW_PASS_SAVE, &err) < 0)
        fail_msg("%s", err.text);
    if (dw_engine_head(f->e, f->pair, f->first[SEQS], 1, (dw_head_wants){.entropy_grad = false},
                       &out, &err) < 0)
        fail_msg("%s", err.text);
}

static void check_logits(fixture *f)
{
    const size_t vocab = f->m->desc.vocab, d = f->m->desc.d;
    const dw_head_spec h = dw_head_of(f->m, 1);
    for (size_t s = 0; s < SEQS; s++) {
        char name[32];
        dw_real *want, *have = dw_alloc(f->seg[s].len * vocab * sizeof *have);
        snprintf(name, sizeof name, "logits.%zu", s);
        const dw_tensor_entry *t = expected(f, "", name, &want);
        assert_non_null(t);
        assert_int_equal(t->n, f->seg[s].len * vocab);
        dw_head_logits(f->m->x, &h, dw_engine_hidden(f->e) + f->seg[s].start * d, d, f->seg[s].len,
                       have);
        for (size_t i = 0; i < t->n; i++)
            if (!(fabs((double)have[i] - (double)want[i]) <= 1e-5))
                fail_msg("%s: %s[%zu] is %.9g, wanted %.9g", f->name, name, i, (double)have[i],
                         (double)want[i]);
        dw_free(want);
        dw_free(have);
    }
}

static double sft(fixture *f)
{
    double loss = 0;
    const size_t n = f->first[SEQS];
    for (size_t i = 0; i < n; i++) {
        loss -= f->logp[i] / (double)n;
        f->d_logp[i] = -1 / (double)n;
    }
    return loss;
}

static double dpo(fixture *f)
{
    const dw_json *c = dw_json_get(f->expected, "dpo");
    const double beta = dw_json_num(dw_json_get(c, "beta"));
    double s[SEQS] = {0}, loss = 0;
    size_t k = 0;
    for (const dw_json *r = dw_json_first(dw_json_get(c, "ref")); r; r = dw_json_next(r), k++) {
        for (uint32_t i = f->first[k]; i < f->first[k + 1]; i++)
            s[k] += f->logp[i];
        s[k] -= dw_json_num(r);
    }
    for (k = 0; k < SEQS; k += 2) {
        const double z = beta * (s[k] - s[k + 1]);
        loss += log1p(exp(-z)) / 2;
        for (uint32_t i = f->first[k]; i < f->first[k + 2]; i++)
            f->d_logp[i] = (i < f->first[k + 1] ? -1 : 1) * beta / (1 + exp(z)) / 2;
    }
    return loss;
}

static double grpo(fixture *f)
{
    const dw_json *c = dw_json_get(f->expected, "grpo");
    const double eps = dw_json_num(dw_json_get(c, "eps"));
    const dw_json *a = dw_json_first(dw_json_get(c, "advantage"));
    const dw_json *old = dw_json_first(dw_json_get(c, "old"));
    double loss = 0;
    for (size_t k = 0; k < SEQS; k++, a = dw_json_next(a), old = dw_json_next(old)) {
        const double adv = dw_json_num(a), n = f->first[k + 1] - f->first[k];
        const dw_json *o = dw_json_first(old);
        for (uint32_t i = f->first[k]; i < f->first[k + 1]; i++, o = dw_json_next(o)) {
            const double ratio = exp(f->logp[i] - dw_json_num(o));
            const double cut = fmin(fmax(ratio, 1 - eps), 1 + eps);
            loss -= fmin(ratio * adv, cut * adv) / n / SEQS;
            f->d_logp[i] = ratio * adv <= cut * adv ? -ratio * adv / n / SEQS : 0;
        }
    }
    return loss;
}

/* Per tensor of the checkpoint: norm of the difference over norm of the reference. */
static void compare(fixture *f, const char *prefix, const dw_real *have)
{
    dw_arena arena = {0};
    dw_slice *slice;
    const dw_params *p = dw_model_base(f->m);
    const size_t n = dw_weights_slices(&arena, &f->m->desc, p, &slice);
    size_t compared = 0;
    for (size_t i = 0; i < n; i++) {
        dw_real *want;
        const dw_tensor_entry *t = expected(f, prefix, slice[i].name, &want);
        if (!t)
            fail_msg("%s: the fixture has no %s%s", f->name, prefix, slice[i].name);
        const dw_real *at =
            have + p->weight[slice[i].weight].offset + (size_t)slice[i].row0 * slice[i].cols;
        double diff = 0, norm = 0;
        assert_int_equal(t->n, (size_t)slice[i].rows * slice[i].cols);
        for (size_t k = 0; k < t->n; k++) {
            const double e = (double)at[k] - (double)want[k];
            diff += e * e;
            norm += (double)want[k] * (double)want[k];
        }
        /* a key's bias shifts all scores of a row alike: its true gradient is 0 */
        const bool zero = strstr(slice[i].name, "k_proj.bias") && norm < 1e-10;
        if (!(sqrt(diff) <= 1e-4 * sqrt(norm) || (zero && diff < 1e-10)))
            fail_msg("%s: %s%s differs by %g of %g", f->name, prefix, slice[i].name, sqrt(diff),
                     sqrt(norm));
        compared++;
        dw_free(want);
    }
    assert_true(compared > 10);
    dw_arena_finish(&arena);
}

static bool check_loss(fixture *f, const char *name, double (*fn)(fixture *))
{
    char prefix[32], path[32];
    dw_err err = {{0}};
    dw_params *t = dw_model_trained(f->m);
    snprintf(path, sizeof path, "losses.%s", name);
    const dw_json *want = dw_json_path(f->expected, path);
    if (!want)
        return false;
    forward(f);
    const double loss = fn(f);
    if (!(fabs(loss - dw_json_num(want)) < 1e-5))
        fail_msg("%s: %s is %.9g, wanted %.9g", f->name, name, loss, dw_json_num(want));
    memset(t->g, 0, t->n * sizeof *t->g);
    assert_int_equal(dw_engine_backward(f->e, f->d_logp, NULL, NULL, &err), 0);
    snprintf(prefix, sizeof prefix, "%s.grad.", name);
    compare(f, prefix, t->g);
    return true;
}

static bool check_adamw(fixture *f)
{
    const dw_json *a = dw_json_path(f->expected, "losses.adamw");
    if (!a)
        return false;
    dw_params *t = dw_model_trained(f->m);
    dw_err err = {{0}};
    dw_real *m = dw_zalloc(t->n, sizeof *m), *v = dw_zalloc(t->n, sizeof *v);
    const dw_json *want = dw_json_first(dw_json_get(a, "losses"));
    dw_adamw o = {.lr = dw_json_num(dw_json_get(a, "lr")),
                  .beta1 = dw_json_num(dw_json_get(a, "beta1")),
                  .beta2 = dw_json_num(dw_json_get(a, "beta2")),
                  .eps = dw_json_num(dw_json_get(a, "eps")),
                  .grad_scale = 1};
    for (o.step = 1; o.step <= 10; o.step++, want = dw_json_next(want)) {
        forward(f);
        const double loss = sft(f);
        assert_non_null(want);
        if (!(fabs(loss - dw_json_num(want)) < 1e-4))
            fail_msg("%s: step %ld: loss %.9g, wanted %.9g", f->name, o.step, loss,
                     dw_json_num(want));
        memset(t->g, 0, t->n * sizeof *t->g);
        assert_int_equal(dw_engine_backward(f->e, f->d_logp, NULL, NULL, &err), 0);
        for (size_t i = 0; i < t->n_weight; i++) {
            const dw_weight *w = &t->weight[i];
            const size_t n = (size_t)w->rows * w->cols;
            o.decay = w->decay ? dw_json_num(dw_json_get(a, "weight_decay")) : 0;
            dw_vec_adamw(&exec, &o, t->w + w->offset, t->g + w->offset, m + w->offset,
                         v + w->offset, n);
        }
        dw_model_changed(f->m);
    }
    compare(f, "adamw.", t->w);
    dw_free(m);
    dw_free(v);
    return true;
}

static void test_transformers(void **state)
{
    static const char *const cases[] = {"tied",    "untied_bias", "llama3", "linear",
                                        "mistral", "qwen2",       "qwen3"};
    size_t losses = 0;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture f;
        open_case(&f, cases[i]);
        forward(&f);
        check_logits(&f);
        losses += check_loss(&f, "sft", sft);
        losses += check_loss(&f, "dpo", dpo);
        losses += check_loss(&f, "grpo", grpo);
        losses += check_adamw(&f);
        close_case(&f);
    }
    assert_int_equal(losses, 11);
}

static int setup(void **state)
{
    dw_err err = {{0}};
    (void)state;
    return dw_exec_init(&exec, 2, NULL, &err);
}

static int teardown(void **state)
{
    (void)state;
    dw_exec_finish(&exec);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_transformers)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
