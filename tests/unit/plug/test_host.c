/* What a plugin gets from the host, and the calls around it; the plugin is made here. */
#include <pthread.h>

#include "batch.h"
#include "plug/internal.h"

struct opts {
    double rate;
};
static const dowel_param params[] = {
    DOWEL_OPT_REAL(struct opts, rate, "1", 0, 10, DOWEL_TUNABLE, "A rate."),
};

/* What the next score() does. */
static void (*script)(const dowel_sample *const *in, uint32_t n, dowel_scores *out);

static dowel_status score(void *self, const dowel_sample *const *in, uint32_t n, dowel_scores *out,
                          dowel_err *err)
{
    (void)self;
    (void)err;
    script(in, n, out);
    return DOWEL_OK;
}

static uint64_t stored;

static dowel_status save(void *self, dowel_sink *to, dowel_err *err)
{
    (void)self;
    (void)err;
    dowel_status st = to->write(to, &stored, 4);
    return st < 0 ? st : to->write(to, (char *)&stored + 4, 4);
}

static dowel_status load(void *self, dowel_source *from, uint32_t version, dowel_err *err)
{
    (void)self;
    if (version != 7 || from->left != 8)
        return dowel_fail(err, DOWEL_E_STATE, "version %u, %d bytes", version, (int)from->left);
    return from->read(from, &stored, 8);
}

static dw_plugin_info info = {.plugin = {DOWEL_PLUGIN("demo", "1", "Demo.", 0),
                                         DOWEL_OPTIONS(struct opts, params), .save = save,
                                         .load = load, .state_version = 7, .reward = &info.reward},
                              .reward = {.size = sizeof info.reward, .score = score}};

static dw_instance *make(const char *name, uint64_t seed, metrics *m)
{
    dw_err err;
    dw_instance *i = NULL;
    dw_instance_spec s = {.info = &info,
                          .name = name,
                          .seed = seed,
                          .metric = m ? collect_metric : NULL,
                          .metric_ctx = m};
    assert_int_equal(dw_instance_create(&s, &i, &err), 0);
    return i;
}

static const char *meta_text = "{}";

static dw_status call(dw_instance *i, dw_score_result *r, dw_err *err)
{
    dowel_sample s = {.size = sizeof s,
                      .id = 5,
                      .completion = {"0123456789", 10},
                      .meta = {meta_text, strlen(meta_text)}};
    const dowel_sample *in[] = {&s, &s, &s};
    return dw_call_score(i, in, 3, r, err);
}

static void run(dw_instance *i, void (*what)(const dowel_sample *const *, uint32_t, dowel_scores *))
{
    dw_err err = {{0}};
    dw_score_result r;
    script = what;
    if (call(i, &r, &err) < 0)
        fail_msg("%s", err.text);
    dw_score_result_finish(&r);
}

/* ---- fields ---- */

static void field_is(const dowel_sample *const *in, dowel_scores *out, const char *path,
                     const char *want)
{
    dowel_text v;
    bool there = out->host->field(out->host, &in[0]->meta, path, &v);
    if (there != (want != NULL))
        fail_msg("%s: %s", path, there ? v.ptr : "missing");
    if (!there)
        return;
    assert_int_equal(v.len, strlen(want));
    assert_string_equal(v.ptr, want);
    assert_int_equal(v.ptr[v.len], 0);
}

static void ask_fields(const dowel_sample *const *in, uint32_t n, dowel_scores *out)
{
    (void)n;
    field_is(in, out, "answer", "a \"b\"\n\xc3\xa9");
    field_is(in, out, "number", "7.50");
    field_is(in, out, "none", "null");
    field_is(in, out, "list", "[ 1, {\"x\": \"]}\\\"\"} , [2,3]]");
    field_is(in, out, "list.0", "1");
    field_is(in, out, "list.1.x", "]}\"");
    field_is(in, out, "list.2.1", "3");
    field_is(in, out, "list.3", NULL);
    field_is(in, out, "list.x", NULL);
    field_is(in, out, "a.b", "whole");
    field_is(in, out, "a.c", "inner");
    field_is(in, out, "a.d", NULL);
    field_is(in, out, "missing", NULL);
    field_is(in, out, "number.x", NULL);
    field_is(in, out, "", NULL);
}

static void test_field(void **state)
{
    (void)state;
    dw_instance *i = make("x", 1, NULL);
    meta_text = "{ \"answer\" : \"a \\\"b\\\"\\n\\u00e9\", \"number\": 7.50,\"none\":null, "
                "\"list\":[ 1, {\"x\": \"]}\\\"\"} , [2,3]], \"a.b\":\"whole\", "
                "\"a\":{\"b\":1,\"c\":\"inner\"}}";
    run(i, ask_fields);
    meta_text = "{}";
    dw_instance_destroy(i);
}

/* ---- scratch, random, cancelled ---- */

static char *kept;

static void *from_thread(void *host)
{
    const dowel_host *h = host;
    kept = h->scratch(h, 100);
    memset(kept, 7, 100);
    return NULL;
}

static void use_scratch(const dowel_sample *const *in, uint32_t n, dowel_scores *out)
{
    (void)in;
    (void)n;
    unsigned char *a = out->host->scratch(out->host, 1000), *b = out->host->scratch(out->host, 0);
    assert_non_null(b);
    for (int k = 0; k < 1000; k++)
        assert_int_equal(a[k], 0);
    memset(a, 0xff, 1000);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, from_thread, (void *)out->host), 0);
    pthread_join(t, NULL);
    assert_int_equal(kept[99], 7); /* until the call returns, not the thread */
}

static uint64_t drawn[3];

static void draw(const dowel_sample *const *in, uint32_t n, dowel_scores *out)
{
    (void)in;
    (void)n;
    drawn[0] = out->host->random(out->host, 1, 2);
    drawn[1] = out->host->random(out->host, 1, 3);
    drawn[2] = out->host->random(out->host, 2, 2);
}

static void test_random(void **state)
{
    uint64_t first[3];
    (void)state;
    dw_instance *i = make("x", 1, NULL);
    run(i, use_scratch);
    run(i, draw);
    memcpy(first, drawn, sizeof first);
    assert_true(first[0] != first[1] && first[0] != first[2]);
    run(i, draw);
    assert_memory_equal(first, drawn, sizeof first);
    dw_instance_destroy(i);
    i = make("x", 1, NULL); /* another instance of that name and seed */
    run(i, draw);
    assert_memory_equal(first, drawn, sizeof first);
    dw_instance_destroy(i);
    for (int k = 0; k < 2; k++) {
        i = make(k ? "y" : "x", k ? 1 : 2, NULL);
        run(i, draw);
        assert_true(drawn[0] != first[0]);
        dw_instance_destroy(i);
    }
}

static bool was_cancelled;

static void look(const dowel_sample *const *in, uint32_t n, dowel_scores *out)
{
    (void)in;
    (void)n;
    was_cancelled = out->host->cancelled(out->host);
}

static void wait_for_it(const dowel_sample *const *in, uint32_t n, dowel_scores *out)
{
    (void)in;
    (void)n;
    for (uint64_t spins = 0; !out->host->cancelled(out->host); spins++)
        assert_true(spins < UINT64_C(1) << 32);
}

static void test_cancelled(void **state)
{
    (void)state;
    dw_instance *i = make("x", 1, NULL);
    run(i, look);
    assert_false(was_cancelled);
    dw_plug_cancel(true);
    run(i, look);
    assert_true(was_cancelled);
    dw_plug_cancel(false);
    dw_instance_limit(i, 0.02);
    run(i, wait_for_it);
    dw_instance_destroy(i);
}

/* ---- metrics, spans, reasons ---- */

static void report(const dowel_sample *const *in, uint32_t n, dowel_scores *out)
{
    const dowel_host *h = out->host;
    (void)in;
    (void)n;
    h->metric(h, "m", DOWEL_MEAN, 1, 3);
    h->metric(h, "m", DOWEL_MEAN, 5, 1);
    h->metric(h, "m", DOWEL_MEAN, NAN, 1); /* no opinion */
    h->metric(h, "m", DOWEL_MEAN, 9, 0);   /* about nothing */
    h->metric(h, "s", DOWEL_SUM, 2, 1);
    h->metric(h, "s", DOWEL_SUM, 3, 1);
    h->metric(h, "low", DOWEL_MIN, 2, 1);
    h->metric(h, "low", DOWEL_MIN, 1, 1);
    assert_null(h->extension(h, "dowel.none/1"));
    h->log(h, DOWEL_DEBUG, "two\nlines");
    assert_true(DOWEL_HAS(h, extension));
}

static void test_metric(void **state)
{
    metrics m = {0};
    (void)state;
    dw_instance *i = make("x", 1, &m);
    run(i, report);
    near(metric_of(&m, "m"), 2, 1e-15);
    near(metric_of(&m, "s"), 5, 1e-15);
    near(metric_of(&m, "low"), 1, 0);
    dw_instance_destroy(i);
}

static void speak(const dowel_sample *const *in, uint32_t n, dowel_scores *out)
{
    (void)in;
    (void)n;
    out->total[1] = 2;
    assert_int_equal(out->span(out, 0, 2, 5, 0.5, DOWEL_CREDIT_EACH), 0);
    assert_int_equal(out->span(out, 2, 9, 10, -1, DOWEL_CREDIT_LAST), 0);
    assert_int_equal(out->span(out, 3, 0, 1, 1, DOWEL_CREDIT_LAST), DOWEL_E_ARG);
    assert_int_equal(out->span(out, 0, 5, 5, 1, DOWEL_CREDIT_LAST), DOWEL_E_ARG);
    assert_int_equal(out->span(out, 0, 5, 11, 1, DOWEL_CREDIT_LAST), DOWEL_E_ARG);
    assert_int_equal(out->span(out, 0, 0, 1, NAN, DOWEL_CREDIT_LAST), DOWEL_E_ARG);
    assert_int_equal(out->span(out, 0, 0, 1, 1, 0), DOWEL_E_ARG);
    out->why(out, 1, "first");
    out->why(out, 1, "second\nline");
    out->why(out, 9, "nobody");
}

static void test_score_result(void **state)
{
    dw_err err;
    dw_score_result r;
    (void)state;
    dw_instance *i = make("x", 1, NULL);
    script = speak;
    assert_int_equal(call(i, &r, &err), 0);
    assert_true(isnan(r.total[0]) && r.total[1] == 2 && isnan(r.total[2]));
    assert_int_equal(r.n_span, 2);
    assert_true(r.span[0].begin == 2 && r.span[0].end == 5 && r.span[1].sample == 2);
    assert_null(r.why[0]);
    assert_string_equal(r.why[1], "second");
    dw_score_result_finish(&r);
    dw_score_result_finish(&r);
    assert_int_equal(dw_call_score(i, NULL, 0, &r, &err), 0);
    dw_instance_destroy(i);
}

/* ---- state ---- */

static void test_state(void **state)
{
    dw_err err;
    dw_buf b = {0}, again = {0};
    (void)state;
    dw_instance *i = make("x", 1, NULL);
    stored = UINT64_C(0x1122334455667788);
    assert_int_equal(dw_instance_save(i, &b, &err), 0);
    assert_int_equal(b.len, 8);
    stored = 0;
    assert_int_equal(dw_instance_load(i, b.ptr, b.len, 7, &err), 0);
    assert_true(stored == UINT64_C(0x1122334455667788));
    assert_int_equal(dw_instance_save(i, &again, &err), 0);
    assert_memory_equal(b.ptr, again.ptr, 8);
    assert_int_equal(dw_instance_load(i, b.ptr, 5, 7, &err), DW_E_PLUGIN);
    assert_string_equal(err.text, "x (demo): load: version 7, 5 bytes");
    assert_int_equal(dw_instance_load(i, b.ptr, 8, 6, &err), DW_E_PLUGIN);
    dw_instance_destroy(i);
    dw_buf_finish(&b);
    dw_buf_finish(&again);

    dw_plugin_info pure = info;
    pure.plugin.save = NULL;
    pure.plugin.load = NULL;
    dw_instance_spec s = {.info = &pure, .name = "x"};
    assert_int_equal(dw_instance_create(&s, &i, &err), 0);
    assert_int_equal(dw_instance_save(i, &b, &err), 0);
    assert_int_equal(b.len, 0);
    assert_int_equal(dw_instance_load(i, NULL, 0, 0, &err), 0);
    assert_int_equal(dw_instance_load(i, "x", 1, 0, &err), DW_E_INPUT);
    dw_instance_destroy(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_field),  cmocka_unit_test(test_random),
        cmocka_unit_test(test_metric), cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_state),  cmocka_unit_test(test_score_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
