/* Replays what TRL's own code said about a model and a batch, and compares loss and gradients. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "handmade.h"

#ifdef DW_DOUBLE
#define TOLERANCE 1e-8
#else
#define TOLERANCE 1e-4
#endif

/* A tensor's gradient in three numbers: norm, and products with cos(1 + i) and sin(3 i). */
static void sketch(const dw_params *p, const dw_weight *w, double out[3])
{
    double norm = 0, c = 0, s = 0;
    size_t n = (size_t)w->rows * w->cols;
    for (size_t i = 0; i < n; i++) {
        double g = (double)p->g[w->offset + i];
        norm += g * g;
        c += g * cos(1.0 + (double)i);
        s += g * sin(3.0 * (double)i);
    }
    out[0] = sqrt(norm);
    out[1] = c;
    out[2] = s;
}

typedef struct error {
    double loss, grad; /* relative: to the loss (or 1), to the norm of the whole gradient */
    const char *where; /* the worst tensor */
} error;

static const dw_json *tensor_of(const dw_json *grad, const char *model, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s", model, name);
    const dw_json *g = dw_json_get(grad, full);
    return g;
}

static double norm_of(const dw_json *grad)
{
    double sum = 0;
    for (const dw_json *g = dw_json_first(grad); g; g = dw_json_next(g))
        sum += pow(dw_json_num(dw_json_first(g)), 2);
    return sqrt(sum);
}

/* Every tensor that the fixture names must be there, and the others' gradients must be 0. */
static error compare(handmade *h, double loss, const dw_json *want)
{
    const dw_json *grad = dw_json_get(want, "grad");
    double norm = norm_of(grad), value = dw_json_num(dw_json_get(want, "loss"));
    error e = {.loss = fabs(loss - value) / fmax(1, fabs(value)), .where = "nothing"};
    size_t found = 0;
    for (size_t m = 0; m < h->l.job.n_models; m++) {
        const dw_live_model *live = &h->l.job.models[m];
        const dw_params *p = dw_model_trained(live->m);
        for (size_t k = 0; p->g && live->plan->trains && k < p->n_weight; k++) {
            double got[3], should[3] = {0};
            const dw_json *g = tensor_of(grad, live->prefix, p->weight[k].name);
            const dw_json *x = g ? dw_json_first(g) : NULL;
            found += g != NULL;
            for (int i = 0; x && i < 3; i++, x = dw_json_next(x))
                should[i] = dw_json_num(x);
            sketch(p, &p->weight[k], got);
            for (int i = 0; i < 3; i++) {
                double by = fabs(got[i] - should[i]) / norm;
                if (by > e.grad || isnan(by)) {
                    e.grad = by;
                    e.where = p->weight[k].name;
                }
            }
        }
    }
    assert_int_equal(found, dw_json_len(grad));
    assert_true(norm > 1e-9);
    return e;
}

static void report(const dw_json *c, const char *against, error e)
{
    if (getenv("DOWEL_TRL_TABLE"))
        printf("# %-34s %-5s loss %.1e  gradient %.1e  (%s)\n",
               dw_json_str(dw_json_get(c, "name")).ptr, against, e.loss, e.grad, e.where);
}

/* A case agrees with TRL, or, where it names a trap, with TRL as it would be without the trap and
 * not with TRL as it is. */
static int run_case(const dw_json *root, const dw_json *c)
{
    handmade h;
    const char *name = dw_json_str(dw_json_get(c, "name")).ptr;
    const dw_json *without = dw_json_get(c, "without_trap"), *tol = dw_json_get(c, "tolerance");
    double allowed = tol ? fmax(dw_json_num(tol), TOLERANCE) : TOLERANCE;
    if (!handmade_open(&h, root, c)) {
        printf("# %s: not compared, this version cannot run it\n", name);
        handmade_close(&h);
        return 0;
    }
    double loss = handmade_pass(&h);
    error e = compare(&h, loss, without ? without : c);
    report(c, without ? "trap" : "same", e);
    int bad = !(e.loss <= allowed && e.grad <= allowed);
    if (bad)
        fprintf(stderr, "%s: loss %.12g, off by %.2g; gradient off by %.2g in %s\n", name, loss,
                e.loss, e.grad, e.where);
    if (without) {
        error trap = compare(&h, loss, c);
        if (trap.loss <= 10 * allowed && trap.grad <= 10 * allowed) {
            fprintf(stderr, "%s: the trap makes no difference\n", name);
            bad = 1;
        }
    }
    handmade_close(&h);
    return bad;
}

static void replay(const char *file)
{
    dw_err err = {{0}};
    dw_json *root = NULL;
    dw_buf path = {0};
    int bad = 0;
    size_t n = 0;
    dw_buf_printf(&path, "%s/golden/trl/%s.json", getenv("DOWEL_TESTS"), file);
    tiny_must(dw_json_read(path.ptr, 1 << 22, &root, &err), &err);
    const dw_json *cases = dw_json_get(root, "cases");
    for (const dw_json *c = dw_json_first(cases); c; c = dw_json_next(c), n++)
        bad += run_case(root, c);
    dw_json_free(root);
    dw_buf_finish(&path);
    assert_true(n > 0);
    assert_int_equal(bad, 0);
}

#define FAMILY(name)                                                                               \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        replay(#name);                                                                             \
    }
FAMILY(dpo)
FAMILY(grpo)
FAMILY(kto)
FAMILY(cpo)
FAMILY(tpo)
FAMILY(sft)
FAMILY(reward)
FAMILY(rloo)
FAMILY(distill)
FAMILY(bco)
FAMILY(online)
FAMILY(prm)
FAMILY(ppo)
FAMILY(minillm)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dpo),    cmocka_unit_test(grpo),   cmocka_unit_test(kto),
        cmocka_unit_test(cpo),    cmocka_unit_test(tpo),    cmocka_unit_test(sft),
        cmocka_unit_test(reward), cmocka_unit_test(rloo),   cmocka_unit_test(distill),
        cmocka_unit_test(bco),    cmocka_unit_test(online), cmocka_unit_test(prm),
        cmocka_unit_test(ppo),    cmocka_unit_test(minillm)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
