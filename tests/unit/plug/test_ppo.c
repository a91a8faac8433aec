/* ppo and gae: generalised advantages, shaped rewards, controllers, and the losses of policy and
 * critic. */
#include "credit.h"

/* One answer of three tokens: rewards -0.01, 0.02, 1, values 0.1, 0.2, 0.3. */
static batch *golden(dw_arena *a)
{
    batch *t = batch_make(a, 1, (uint32_t[]){3});
    credit_put(wide_column(a, t, DOWEL_TOKEN_REWARD, 1, false, NAN), 2, (double[]){-0.01, 0.02});
    column(a, t, DOWEL_REWARD, false)[0] = 1;
    credit_put(column(a, t, DOWEL_OLD_VALUE, false), 3, (double[]){0.1, 0.2, 0.3});
    return t;
}

static void check_gae(fixture *f, const char *id, const char *options, const double *want)
{
    credits c;
    dw_instance *i = instance_make(f, id, options, NULL);
    credit_of(i, golden(&f->arena), 1, &c);
    credit_expect(&c, want, 3, 1e-8);
    credit_put(c.advantage, 3, c.ret);
    credit_expect(&c, (double[]){0.93575, 0.985, 1}, 3, 1e-12);
    dw_instance_destroy(i);
}

static void test_b3_gae(void **state)
{
    const char *const id[] = {"gae", "ppo"};
    for (int k = 0; k < 2; k++) {
        check_gae(*state, id[k], "{\"kl\":0,\"whiten\":false}", (double[]){0.83575, 0.785, 0.7});
        check_gae(*state, id[k], "{\"kl\":0,\"whiten_population\":true}",
                  (double[]){1.11002633, 0.203852021, -1.31387835});
        check_gae(*state, id[k], "{\"kl\":0}", (double[]){0.906333187, 0.166444567, -1.07277775});
    }
}

static void test_b3_value_loss(void **state)
{
    fixture *f = *state;
    metrics m = {0};
    dw_instance *i = instance_make(f, "ppo", "{\"value_coef\":1}", &m);
    batch *t = batch_make(&f->arena, 1, (uint32_t[]){3});
    dw_arena *a = &f->arena;
    column(a, t, DOWEL_LOGP, true);
    column(a, t, DOWEL_OLD_LOGP, false);
    column(a, t, DOWEL_ADVANTAGE, false);
    column(a, t, DOWEL_WEIGHT, false);
    credit_put(column(a, t, DOWEL_VALUE, true), 3, (double[]){0.35, 0.1, 0.9});
    credit_put(column(a, t, DOWEL_OLD_VALUE, false), 3, (double[]){0.1, 0.2, 0.3});
    credit_put(column(a, t, DOWEL_RETURN, false), 3, (double[]){0.93575, 0.985, 1});
    near(loss_of(i, t), 0.239567177, 1e-9);
    near(t->col[DOWEL_VALUE].grad[0], 0, 0);
    near(t->col[DOWEL_VALUE].grad[1], -0.295, 1e-12);
    near(t->col[DOWEL_VALUE].grad[2], 0, 0);
    near(metric_of(&m, "loss/value_avg"), 0.239567177, 1e-9);
    near(metric_of(&m, "val/clipfrac_avg"), 2.0 / 3, 1e-12);
    dw_instance_destroy(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_b3_gae),
        cmocka_unit_test(test_b3_value_loss),
    };
    return cmocka_run_group_tests(tests, setup_registry, teardown_registry);
}
