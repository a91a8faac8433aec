/* The models of make_llama.py: logits, gradients of every parameter for three losses, and ten steps
 * of AdamW agree with transformers and PyTorch. */
#include "folder.h"

#include <math.h>

#include "base/alloc.h"
#include "base/json.h"
#include "model/engine_internal.h"
#include "model/frozen.h"
#include "model/weights.h"
#include "tensor/vector.h"

enum { SEQUENCES = 4, MAX_LEN = 64, VOCAB = 64 };

static dw_exec exec;
static const double logit_tolerance = 1e-5, gradient_tolerance = 1e-4;

/* One case: the model, its sequences, and what is expected. */
typedef struct fixture {
    folder f;
    dw_model *m;
    dw_engine *e;
    dw_json *numbers;
    dw_checkpoint *tensors;
    dw_slice *slice; /* what training moves, by the names of the files */
    size_t n_slice;
    int32_t id[SEQUENCES][MAX_LEN];
    uint32_t len[SEQUENCES], completion[SEQUENCES];
} fixture;

static void must(dw_status st, const dw_err *err)
{
    if (st < 0)
        fail_msg("%s", err->text);
}

static double number(const fixture *x, const char *path)
{
    const dw_json *v = dw_json_path(x->numbers, path);
    if (!v || dw_json_kind(v) != DW_JSON_NUMBER)
        fail_msg("no number %s", path);
    return dw_json_num(v);
}

static void begin(fixture *x, const char *name)
{
    dw_err err = {{0}};
    memset(x, 0, sizeof *x);
    folder_begin(&x->f);
    char *dir = golden(&x->f, dw_arena_printf(&x->f.arena, "llama/%s", name));
    const dw_model_options o = {.trainable = true, .no_tokenizer = true};
    must(dw_model_open(&exec, dir, &o, &x->m, &err), &err);
    must(dw_engine_create(x->m, &x->e, &err), &err);
    const dw_params *w = dw_model_trained(x->m);
    x->n_slice = dw_model_has_adapter(x->m)
                     ? dw_weights_adapter_slices(&x->f.arena, dw_model_description(x->m),
                                                 dw_model_lora(x->m), w, &x->slice)
                     : dw_weights_slices(&x->f.arena, dw_model_description(x->m), w, &x->slice);
    must(dw_json_read(dw_path_join(&x->f.arena, dir, "expected.json"), 1 << 20, &x->numbers, &err),
         &err);
    must(dw_checkpoint_open_file(dw_path_join(&x->f.arena, dir, "expected.safetensors"),
                                 &x->tensors, &err),
         &err);
    for (int i = 0; i < SEQUENCES; i++) {
        x->completion[i] =
            (uint32_t)number(x, dw_arena_printf(&x->f.arena, "sequences.%d.completion", i));
        const dw_json *ids =
            dw_json_path(x->numbers, dw_arena_printf(&x->f.arena, "sequences.%d.ids", i));
        assert_in_range(dw_json_len(ids), 2, MAX_LEN);
        for (const dw_json *v = dw_json_first(ids); v; v = dw_json_next(v))
            x->id[i][x->len[i]++] = (int32_t)dw_json_num(v);
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

static bool has(const fixture *x, const char *loss)
{
    return dw_json_path(x->numbers, dw_arena_printf((dw_arena *)&x->f.arena, "losses.%s", loss));
}

/* || got - want || / || want ||, want by its name in expected.safetensors. */
static double distance(fixture *x, const char *name, const dw_real *got)
{
    const dw_tensor_entry *e = dw_checkpoint_find(x->tensors, name);
    if (!e)
        fail_msg("%s is not in expected.safetensors", name);
    dw_err err = {{0}};
    dw_real *want = dw_arena_alloc(&x->f.arena, (size_t)e->n * sizeof *want);
    double diff = 0, norm = 0;
    must(dw_tensor_read(e, want, &err), &err);
    for (size_t i = 0; i < e->n; i++) {
        double d = (double)got[i] - (double)want[i];
        diff += d * d;
        norm += (double)want[i] * (double)want[i];
    }
    assert_true(norm > 0);
    return sqrt(diff / norm);
}

static void close_enough(fixture *x, const char *name, const dw_real *got, double tolerance,
                         double *worst)
{
    double d = distance(x, name, got);
    if (!(d <= tolerance))
        fail_msg("%s: relative distance %g is above %g", name, d, tolerance);
    *worst = d > *worst ? d : *worst;
}

/* All sequences in one batch, on their own. */
static void check_logits(fixture *x, double *worst)
{
    dw_err err = {{0}};
    int32_t id[SEQUENCES * MAX_LEN];
    dw_segment seg[SEQUENCES];
    uint32_t n = 0;
    for (int i = 0; i < SEQUENCES; i++) {
        seg[i] = (dw_segment){.start = n, .len = x->len[i], .parent = -1};
        memcpy(id + n, x->id[i], x->len[i] * sizeof *id);
        n += x->len[i];
    }
    const dw_forest f = {id, n, seg, SEQUENCES};
    must(dw_engine_forward(x->e, &f, 0, &err), &err);
    must(dw_frozen_need(x->m, &x->m->head, &err), &err);
    static dw_real logits[MAX_LEN * VOCAB];
    const dw_head_spec h = dw_head_of(x->m, 1);
    for (int i = 0; i < SEQUENCES; i++) {
        dw_head_logits(&exec, &h, dw_engine_hidden(x->e) + seg[i].start * h.d, h.d, seg[i].len,
                       logits);
        close_enough(x, dw_arena_printf(&x->f.arena, "logits.%d", i), logits, logit_tolerance,
                     worst);
    }
}

/* The completion tokens of all sequences; sequences 2k and 2k + 1 share their prompt's rows. */
typedef struct pass {
    dw_head_pair pair[SEQUENCES * MAX_LEN];
    int seq[SEQUENCES * MAX_LEN];
    uint32_t at[SEQUENCES * MAX_LEN]; /* index within the completion */
    double logp[SEQUENCES * MAX_LEN], d_logp[SEQUENCES * MAX_LEN];
    size_t n;
} pass;

static void forward(fixture *x, pass *p)
{
    dw_err err = {{0}};
    int32_t id[SEQUENCES * MAX_LEN];
    dw_segment seg[6];
    uint32_t n = 0;
    p->n = 0;
    for (int k = 0; k < 2; k++) {
        uint32_t c = x->completion[2 * k];
        seg[3 * k] = (dw_segment){n, c, -1, 0};
        memcpy(id + n, x->id[2 * k], c * sizeof *id);
        n += c;
        for (int s = 0; s < 2; s++) {
            int i = 2 * k + s;
            uint32_t len = x->len[i] - c;
            assert_memory_equal(x->id[i], x->id[2 * k], c * sizeof *id);
            seg[3 * k + 1 + s] = (dw_segment){n, len, 3 * k, c};
            memcpy(id + n, x->id[i] + c, len * sizeof *id);
            n += len;
        }
        for (int s = 0; s < 2; s++) { /* both first tokens hang on the prompt's last row */
            p->seq[p->n] = 2 * k + s;
            p->at[p->n] = 0;
            p->pair[p->n++] = (dw_head_pair){seg[3 * k].start + c - 1, x->id[2 * k + s][c]};
        }
        for (int s = 0; s < 2; s++)
            for (uint32_t t = 1; t < seg[3 * k + 1 + s].len; t++) {
                p->seq[p->n] = 2 * k + s;
                p->at[p->n] = t;
                p->pair[p->n++] =
                    (dw_head_pair){seg[3 * k + 1 + s].start + t - 1, x->id[2 * k + s][c + t]};
            }
    }
    const dw_forest f = {id, n, seg, 6};
    dw_head_out out = {.logp = p->logp};
    must(dw_engine_forward(x->e, &f, DW_PASS_SAVE, &err), &err);
    must(dw_engine_head(x->e, p->pair, p->n, 1, (dw_head_wants){0}, &out, &err), &err);
}

static double sft(fixture *x, pass *p)
{
    double loss = 0;
    for (size_t i = 0; i < p->n; i++) {
        loss -= p->logp[i] / (double)p->n;
        p->d_logp[i] = -1 / (double)p->n;
    }
    return loss;
}

static double dpo(fixture *x, pass *p)
{
    double sum[SEQUENCES] = {0}, beta = number(x, "dpo.beta"), loss = 0, slope[2];
    for (size_t i = 0; i < p->n; i++)
        sum[p->seq[i]] += p->logp[i];
    for (int i = 0; i < SEQUENCES; i++)
        sum[i] -= number(x, dw_arena_printf(&x->f.arena, "dpo.ref.%d", i));
    for (int k = 0; k < 2; k++) {
        double z = beta * (sum[2 * k] - sum[2 * k + 1]);
        loss += log1p(exp(-z)) / 2;
        slope[k] = -beta / (1 + exp(z)) / 2;
    }
    for (size_t i = 0; i < p->n; i++)
        p->d_logp[i] = p->seq[i] % 2 ? -slope[p->seq[i] / 2] : slope[p->seq[i] / 2];
    return loss;
}

static double grpo(fixture *x, pass *p)
{
    double loss = 0, eps = number(x, "grpo.eps");
    for (size_t i = 0; i < p->n; i++) {
        int s = p->seq[i];
        double n = (double)(x->len[s] - x->completion[s]) * SEQUENCES;
        double a = number(x, dw_arena_printf(&x->f.arena, "grpo.advantage.%d", s));
        double old = number(x, dw_arena_printf(&x->f.arena, "grpo.old.%d.%u", s, p->at[i]));
        double ratio = exp(p->logp[i] - old);
        double cut = ratio < 1 - eps ? 1 - eps : ratio > 1 + eps ? 1 + eps : ratio;
        bool clipped = cut * a < ratio * a;
        loss -= (clipped ? cut : ratio) * a / n;
        p->d_logp[i] = clipped ? 0 : -ratio * a / n;
    }
    return loss;
}

static const struct loss {
    const char *name;
    double (*fn)(fixture *x, pass *p);
} losses[] = {{"sft", sft}, {"dpo", dpo}, {"grpo", grpo}};

static void backward(fixture *x, pass *p)
{
    dw_err err = {{0}};
    dw_params *w = dw_model_trained(x->m);
    memset(w->g, 0, w->n * sizeof *w->g);
    must(dw_engine_backward(x->e, &(dw_engine_grads){.logp = p->d_logp}, &err), &err);
}

static void check_gradients(fixture *x, const struct loss *l, double *worst)
{
    static pass p;
    forward(x, &p);
    double want = number(x, dw_arena_printf(&x->f.arena, "losses.%s", l->name));
    double got = l->fn(x, &p);
    /* GRPO's loss is a small difference of terms around 1 */
    if (!(fabs(got - want) <= 1e-6 * (1 + fabs(want))))
        fail_msg("%s: loss %.9g, wanted %.9g", l->name, got, want);
    backward(x, &p);
    const dw_params *w = dw_model_trained(x->m);
    for (size_t i = 0; i < x->n_slice; i++) {
        const dw_slice *s = &x->slice[i];
        const dw_real *g = w->g + (dw_slice_values(w, s) - w->w);
        close_enough(x, dw_arena_printf(&x->f.arena, "%s.grad.%s", l->name, s->name), g,
                     gradient_tolerance, worst);
    }
}

static void check_adamw(fixture *x, double *worst)
{
    static pass p;
    dw_params *w = dw_model_trained(x->m);
    dw_real *m = dw_zalloc(w->n, sizeof *m), *v = dw_zalloc(w->n, sizeof *v);
    dw_adamw o = {.lr = number(x, "losses.adamw.lr"),
                  .beta1 = number(x, "losses.adamw.beta1"),
                  .beta2 = number(x, "losses.adamw.beta2"),
                  .eps = number(x, "losses.adamw.eps"),
                  .grad_scale = 1};
    for (o.step = 1; o.step <= 10; o.step++) {
        forward(x, &p);
        double want =
            number(x, dw_arena_printf(&x->f.arena, "losses.adamw.losses.%ld", o.step - 1));
        double got = sft(x, &p);
        if (!(fabs(got - want) <= 1e-4 * want))
            fail_msg("step %ld: loss %.9g, wanted %.9g", o.step, got, want);
        backward(x, &p);
        for (size_t i = 0; i < w->n_weight; i++) {
            size_t at = w->weight[i].offset, n = (size_t)w->weight[i].rows * w->weight[i].cols;
            o.decay = w->weight[i].decay ? number(x, "losses.adamw.weight_decay") : 0;
            dw_vec_adamw(&exec, &o, w->w + at, w->g + at, m + at, v + at, n);
        }
        dw_model_changed(x->m);
    }
    for (size_t i = 0; i < x->n_slice; i++)
        close_enough(x, dw_arena_printf(&x->f.arena, "adamw.%s", x->slice[i].name),
                     dw_slice_values(w, &x->slice[i]), gradient_tolerance, worst);
    dw_free(m);
    dw_free(v);
}

/* Into DOWEL_LLAMA_OUT/<name>, for check_lora.py; the base by an absolute path. */
static void save_adapter(const fixture *x, const char *name)
{
    dw_err err = {{0}};
    dw_arena a = {0};
    const char *root = getenv("DOWEL_LLAMA_OUT");
    if (root && dw_model_has_adapter(x->m)) {
        char *dir = dw_path_join(&a, root, name);
        must(dw_mkdirs(dir, &err), &err);
        must(dw_model_save_adapter(x->m, dir, &err), &err);
    }
    dw_arena_finish(&a);
}

static void run(void **state)
{
    static fixture x;
    const char *name = *state;
    double logits = 0, gradients = 0, weights = 0;
    begin(&x, name);
    check_logits(&x, &logits);
    save_adapter(&x, name);
    size_t n = 0;
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++)
        if (has(&x, losses[i].name)) {
            check_gradients(&x, &losses[i], &gradients);
            n++;
        }
    assert_true(n > 0);
    if (has(&x, "adamw"))
        check_adamw(&x, &weights);
    print_message("# %s: worst relative distance of logits %.1e, gradients %.1e", name, logits,
                  gradients);
    if (has(&x, "adamw"))
        print_message(", weights after ten steps %.1e", weights);
    print_message("\n");
    end(&x);
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
        CASE("tied"),       CASE("untied_bias"), CASE("llama3"),      CASE("linear"),
        CASE("mistral"),    CASE("qwen2"),       CASE("qwen3"),       CASE("lora"),
        CASE("lora_ranks"), CASE("lora_regex"),  CASE("lora_layers"),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
