/* Every pair of objectives: the gradient of their mixture is the weighted sum of their own; and no
 * gradient depends on how its step was cut, or on whether it was seen in one pass or two. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "handmade.h"

#ifdef DW_DOUBLE
#define TOLERANCE 1e-6
#else
#define TOLERANCE 1e-5
#endif

/* One task for each kind of data, with every objective that learns from it. */
typedef struct kind {
    const char *name, *type, *file, *batch, *roles, *objectives;
} kind;

#define USE(name, plugin, options)                                                                 \
    "\"" name "\":{\"plugin\":\"" plugin "\",\"weight\":1,\"options\":{" options "}}"
#define AND(name, plugin, options) "," USE(name, plugin, options)

static const char pairwise[] = USE("dpo", "dpo", "") AND("aot", "dpo", "\"loss\":\"aot\"")
    AND("wpo", "dpo", "\"wpo\":true,\"sft\":1") AND("cpo", "cpo", "") AND("simpo", "simpo", "")
        AND("orpo", "orpo", "") AND("slic", "slic", "") AND("tpo", "tpo", "")
            AND("list", "dpo_list", "");
static const char labelled[] =
    USE("kto", "kto", "") AND("bco", "bco", "") AND("prime", "prime", "");
static const char given[] = USE("sft", "sft", "") AND("smooth", "sft", "\"label_smoothing\":0.1")
    AND("gkd", "gkd", "") AND("top1", "opd", "\"loss\":\"top1\"");
static const char sampled[] = USE("grpo", "grpo", "\"kl\":0.1")
    AND("top", "grpo", "\"loss\":\"dapo\",\"top_entropy\":0.45,\"entropy_bonus\":0.1")
        AND("gspo", "grpo", "\"loss\":\"gspo\"") AND("rloo", "rloo", "")
            AND("reinforce", "reinforce", "") AND("ppo", "ppo", "")
                AND("opd", "opd", "\"loss\":\"clipped\"") AND("iw", "iw_opd", "")
                    AND("minillm", "minillm", "\"single_step\":false")
                        AND("self", "self_distill", "\"mode\":\"sampled_token\"")
                            AND("a2po", "a2po", "") AND("gmpo", "grpo", "\"loss\":\"gmpo\"")
                                AND("vespo", "grpo", "\"loss\":\"vespo\"")
                                    AND("cispo", "grpo", "\"loss\":\"cispo\"")
                                        AND("sapo", "grpo", "\"loss\":\"sapo\"");
static const kind kinds[] = {
    {"pairs", "pairs", "tpo", "batch", "", pairwise},
    {"labels", "labels", "kto", "batch", "", labelled},
    {"texts", "completions", "sft", "batch", "\"teacher\":\"second\",", given},
    {"rollouts", "prompts", "ppo", "ragged",
     "\"teacher\":\"second\",\"estimator\":{\"plugin\":\"group\"},", sampled},
    {"exact", "prompts", "ppo", "ragged",
     "\"teacher\":\"second\",\"estimator\":{\"plugin\":\"group\"},", USE("minillm", "minillm", "")},
    {"own", "prompts", "ppo", "ragged",
     "\"teacher\":\"second\",\"estimator\":{\"plugin\":\"group\"},",
     USE("self", "self_distill", "")},
    {"costs", "prompts", "ppo", "ragged", "\"critic\":\"vm\",",
     USE("lag", "ppo_lag", "\"cost\":\"brief\"")},
    {"scores", "pairs", "reward", "wide", "\"model\":\"rm\",", USE("reward", "reward", "")},
    {"process", "steps", "prm", "batch", "\"model\":\"pm\",", USE("prm", "prm", "")}};
enum { N_KIND = sizeof kinds / sizeof *kinds, MOST = 64 };

typedef struct one {
    size_t task;
    dw_use *use;
    double *grad; /* over all models that train */
    double loss;
} one;

typedef struct bench {
    handmade h;
    dw_json *root[N_KIND];
    dw_set set[N_KIND];
    one all[MOST];
    size_t n, n_grad;
} bench;

/* Invents a column that the fixture does not have. */
static double *column_or(handmade *h, const dw_set *s, double *column, double middle, size_t width)
{
    if (column && width == 1)
        return column;
    double *x = dw_arena_alloc(&h->arena, (s->n_tok + 1) * width * sizeof *x);
    for (size_t i = 0; i < s->n_tok * width; i++)
        x[i] = middle + 0.3 * sin(1.3 * (double)i);
    return x;
}

static void fill(bench *b, size_t k)
{
    handmade *h = &b->h;
    dw_err err = {{0}};
    dw_set *s = &b->set[k];
    const char *path =
        dw_arena_printf(&h->arena, "%s/golden/trl/%s.json", getenv("DOWEL_TESTS"), kinds[k].file);
    tiny_must(dw_json_read(path, 1 << 22, &b->root[k], &err), &err);
    dw_live_task *t = NULL;
    for (size_t i = 0; i < h->l.job.n_task; i++)
        if (!strcmp(h->l.job.task[i].plan->name, kinds[k].name))
            t = &h->l.job.task[i];
    handmade_batch(h, s, t, dw_json_get(b->root[k], kinds[k].batch));
    s->ref_logp = column_or(h, s, s->ref_logp, -6, 1);
    s->teacher_logp = column_or(h, s, s->teacher_logp, -6, 1);
    if (t->plan->rollout && t->value_width > 1) {
        s->old_value = column_or(h, s, s->old_value, 0.1, t->value_width);
        s->ret = column_or(h, s, s->ret, -0.1, t->value_width);
    }
    for (size_t i = 0; t->plan->rollout && i < s->n_seq; i++) {
        s->seq[i].reward = dw_arena_alloc(&h->arena, 2 * sizeof(double));
        s->seq[i].reward[0] = s->seq[i].reward[1] = 0.3 * (double)(i % 3);
    }
    for (size_t i = 0; i < t->n_objective; i++)
        b->all[b->n++] = (one){.task = k, .use = &t->objective[i]};
}

static void bench_open(bench *b)
{
    dw_buf tasks = {0}, weights = {0}, models = {0};
    *b = (bench){0};
    handmade *h = &b->h;
    handmade_begin(h);
    for (size_t k = 0; k < N_KIND; k++) {
        handmade_task(h, &tasks, kinds[k].name, kinds[k].type, kinds[k].objectives, kinds[k].roles);
        dw_buf_printf(&weights, "%s\"%s\":1", k ? "," : "", kinds[k].name);
    }
    static const char *const name[] = {"second", "rm", "pm", "vm"};
    for (size_t i = 0; i < 4; i++)
        dw_buf_printf(&models, "%s\"%s\":{\"path\":\"%s\",\"trains\":%s}", i ? "," : "", name[i],
                      handmade_folder(h), i ? "true" : "false");
    assert_true(handmade_plan(h, tasks.ptr, weights.ptr, models.ptr, 4096));
    for (size_t k = 0; k < N_KIND; k++)
        fill(b, k);
    for (size_t i = 0; i < h->l.job.n_models; i++)
        if (h->l.job.models[i].plan->trains)
            b->n_grad += dw_model_trained(h->l.job.models[i].m)->n;
    dw_buf_finish(&tasks);
    dw_buf_finish(&weights);
    dw_buf_finish(&models);
}

static void bench_close(bench *b)
{
    handmade_close(&b->h);
    for (size_t k = 0; k < N_KIND; k++)
        dw_json_free(b->root[k]);
}

static double add_pass(bench *b, size_t task, double weight, const dw_use *only)
{
    dw_err err = {{0}};
    dw_pass p = {
        .job = &b->h.l.job, .set = &b->set[task], .weight = weight, .only = only, .backward = true};
    tiny_must(dw_pass_run(&p, &err), &err);
    return p.loss;
}

static void copy_gradient(const bench *b, double *to)
{
    const dw_job *job = &b->h.l.job;
    for (size_t i = 0; i < job->n_models; i++) {
        const dw_params *p = dw_model_trained(job->models[i].m);
        for (size_t k = 0; job->models[i].plan->trains && k < p->n; k++)
            *to++ = (double)p->g[k];
    }
}

static double *gradient(bench *b, const one *x, double *loss)
{
    double *g = dw_arena_alloc(&b->h.arena, b->n_grad * sizeof *g);
    dw_models_zero(&b->h.l.job);
    *loss = add_pass(b, x->task, 1, x->use);
    copy_gradient(b, g);
    return g;
}

static double distance(const double *x, const double *y, size_t n)
{
    double diff = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        diff += (x[i] - y[i]) * (x[i] - y[i]);
        norm += y[i] * y[i];
    }
    assert_true(norm > 1e-12); /* a gradient of nothing proves nothing */
    return sqrt(diff / norm);
}

static void weigh(const one *x, double w)
{
    ((dw_plan_use *)(uintptr_t)x->use->plan)->weight = w;
}

/* In one task the two share a forward and a backward pass; else each task has its own. */
static double mixture(bench *b, const one *x, const one *y, double wx, double wy, double *grad)
{
    double loss;
    dw_models_zero(&b->h.l.job);
    if (x->task == y->task) {
        for (size_t i = 0; i < b->n; i++)
            weigh(&b->all[i], 0);
        weigh(x, wx);
        weigh(y, wy);
        loss = add_pass(b, x->task, 1, NULL);
        for (size_t i = 0; i < b->n; i++)
            weigh(&b->all[i], 1);
    } else {
        loss = add_pass(b, x->task, wx, x->use);
        loss += add_pass(b, y->task, wy, y->use);
    }
    copy_gradient(b, grad);
    return loss;
}

static void every_pair_adds_up(void **state)
{
    static bench b;
    bench_open(&b);
    double worst = 0;
    size_t pairs = 0;
    for (size_t i = 0; i < b.n; i++)
        b.all[i].grad = gradient(&b, &b.all[i], &b.all[i].loss);
    double *mix = dw_arena_alloc(&b.h.arena, b.n_grad * sizeof *mix);
    double *sum = dw_arena_alloc(&b.h.arena, b.n_grad * sizeof *sum);
    for (size_t i = 0; i < b.n; i++)
        for (size_t j = i + 1; j < b.n; j++, pairs++) {
            const one *x = &b.all[i], *y = &b.all[j];
            double loss = mixture(&b, x, y, 0.7, 0.4, mix);
            for (size_t k = 0; k < b.n_grad; k++)
                sum[k] = 0.7 * x->grad[k] + 0.4 * y->grad[k];
            double off = distance(mix, sum, b.n_grad);
            double want = 0.7 * x->loss + 0.4 * y->loss;
            if (!(off < TOLERANCE) || !(fabs(loss - want) < TOLERANCE * fmax(1, fabs(want))))
                fail_msg("%s/%s and %s/%s: gradient off by %.2g, loss %.9g instead of %.9g",
                         kinds[x->task].name, x->use->plan->name, kinds[y->task].name,
                         y->use->plan->name, off, loss, want);
            worst = fmax(worst, off);
        }
    printf("# %zu objectives, %zu pairs, worst %.1e\n", b.n, pairs, worst);
    bench_close(&b);
}

/* Each cut of the step, seen in one pass where the loss allows it and in two, against all at once.
 */
static void cuts_and_passes_change_nothing(void **state)
{
    static const uint32_t cut[] = {1, 13, 40, 100000};
    static bench b;
    double worst = 0, loss, whole_loss;
    bench_open(&b);
    for (size_t i = 0; i < b.n; i++) {
        const one *x = &b.all[i];
        dw_live_task *t = x->use->task;
        const bool by_step = t->by_step, needs = x->use->ask.together == DOWEL_BY_STEP;
        t->by_step = true;
        b.h.plan->micro_tokens = 100000;
        const double *whole = gradient(&b, x, &whole_loss);
        for (size_t c = 0; c < sizeof cut / sizeof *cut; c++)
            for (int two = needs; two < 2; two++) {
                t->by_step = two;
                b.h.plan->micro_tokens = cut[c];
                double off = distance(gradient(&b, x, &loss), whole, b.n_grad);
                if (!(off < TOLERANCE) || !(fabs(loss - whole_loss) < TOLERANCE))
                    fail_msg("%s/%s cut at %u, %s: gradient off by %.2g, loss %.9g instead of %.9g",
                             kinds[x->task].name, x->use->plan->name, cut[c],
                             two ? "two passes" : "one pass", off, loss, whole_loss);
                worst = fmax(worst, off);
            }
        t->by_step = by_step;
    }
    printf("# %zu objectives, worst %.1e\n", b.n, worst);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_pair_adds_up),
                                       cmocka_unit_test(cuts_and_passes_change_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
