/* What an objective is shown of labels, steps, lists, pairs with gold, and mismatched answers; and
 * that cutting such a step changes nothing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tiny.h"
#include "train/live.h"

static const char *const plugin_dir[] = {TEST_PLUGIN_DIR};

static dw_run_options options(tiny *t)
{
    dw_run_options o = tiny_options(t, "none", 0);
    o.plugin_dir = plugin_dir;
    o.n_plugin_dir = 1;
    return o;
}

static dw_plan *plan_of(tiny *t, const char *type, const char *rows, int per_step, const char *more)
{
    dw_err err = {{0}};
    const char *seen = dw_path_join(&t->arena, t->dir, "seen");
    tiny_write(t, "rows.jsonl", rows);
    if (dw_file_exists(seen))
        tiny_must(dw_remove_tree(seen, &err), &err);
    const char *task = dw_arena_printf(
        &t->arena,
        "\"main\":{\"data\":{\"type\":\"%s\",\"files\":[\"DIR/rows.jsonl\"],\"shuffle\":false},"
        "\"rows\":%d,\"objectives\":{\"c\":{\"plugin\":\"org.example.columns\",\"weight\":1,"
        "\"options\":{\"file\":\"DIR/seen\"%s}}}}",
        type, per_step, more);
    return tiny_plan(t, task, "\"main\":1", "");
}

/* Runs one step and gives its gradient. */
static double *step(tiny *t, dw_plan *p, uint32_t micro_tokens, size_t *n)
{
    dw_err err = {{0}};
    dw_live l;
    dw_step_result r;
    dw_run_options o = options(t);
    p->micro_tokens = micro_tokens;
    tiny_must(dw_live_open(&l, p, NULL, &o, &err), &err);
    tiny_must(dw_live_arm(&l, &err), &err);
    tiny_must(dw_step_gradient(&l.job, &r, &err), &err);
    const dw_params *w = dw_model_trained(l.job.model);
    double *g = dw_arena_alloc(&t->arena, w->n * sizeof *g);
    for (size_t i = 0; i < w->n; i++)
        g[i] = (double)w->g[i];
    *n = w->n;
    dw_live_close(&l);
    return g;
}

static const char *seen(tiny *t)
{
    dw_err err = {{0}};
    dw_buf b = {0};
    tiny_must(dw_file_read(dw_path_join(&t->arena, t->dir, "seen"), 1 << 20, &b, &err), &err);
    const char *s = dw_arena_strndup(&t->arena, b.ptr, b.len);
    dw_buf_finish(&b);
    return s;
}

/* One token is one byte here, and the end token one more. */
static void shown(const char *type, const char *rows, int per_step, const char *more,
                  const char *want)
{
    tiny t = tiny_make();
    size_t n;
    dw_plan *p = plan_of(&t, type, rows, per_step, more);
    step(&t, p, 4096, &n);
    assert_string_equal(seen(&t), want);
    dw_plan_free(p);
    tiny_finish(&t);
}

#define PAIR_ROWS                                                                                  \
    "{\"prompt\":\"p\",\"chosen\":\"ab\",\"rejected\":\"abc\",\"gold\":\"g\",\"margin\":0.5,"      \
    "\"weight\":2}\n"                                                                              \
    "{\"prompt\":\"qq\",\"chosen\":\"x\",\"rejected\":\"y\",\"target\":0.75}\n"
#define STEP_ROWS                                                                                  \
    "{\"prompt\":\"p\",\"steps\":[\"ab\",\"c\"],\"labels\":[true,0.25]}\n"                         \
    "{\"prompt\":\"q\",\"steps\":[\"x\"],\"labels\":[null]}\n"
#define LIST_ROWS                                                                                  \
    "{\"prompt\":\"p\",\"completions\":[\"a\",\"bb\",\"c\"],\"scores\":[1,5,1]}\n"                 \
    "{\"prompt\":\"q\",\"completions\":[\"d\",\"e\"],\"ranks\":[1,2]}\n"
#define LABEL_ROWS                                                                                 \
    "{\"prompt\":\"p\",\"completion\":\"a\",\"label\":true,\"n\":3,\"deep\":{\"er\":-1}}\n"        \
    "{\"prompt\":\"q\",\"completion\":\"bb\",\"label\":0,\"n\":4.5}\n"                             \
    "{\"prompt\":\"r\",\"completion\":\"ccc\",\"label\":1}\n"

#define PAIR_LINES                                                                                 \
    " seqs 4 toks 11\n"                                                                            \
    "role 0 id 0 group 0 mate 1 n 3 w2 l1 t1 m0.5\n"                                               \
    "role 0 id 1 group 0 mate 0 n 4 w2 l-1 t1 m0.5\n"                                              \
    "role 3 id 281474976710656 group 0 mate -1 n 2 w2 l1 t1 m0.5\n"                                \
    "role 0 id 2 group 1 mate 4 n 2 w1 l1 t0.75 m0\n"                                              \
    "role 0 id 3 group 1 mate 3 n 2 w1 l-1 t0.75 m0\n"
#define STEP_LINES                                                                                 \
    " seqs 2 toks 7\n"                                                                             \
    "role 0 id 0 group 0 mate -1 n 5 w1 l1 @2 =1 @4 =0.25\n"                                       \
    "role 0 id 2 group 1 mate -1 n 2 w1 l1 @1 =nan\n"
#define LIST_LINES                                                                                 \
    " seqs 5 toks 11\n"                                                                            \
    "role 0 id 0 group 0 mate -1 n 2 w1 l0 r2\n"                                                   \
    "role 0 id 1 group 0 mate -1 n 3 w1 l0 r1\n"                                                   \
    "role 0 id 281474976710656 group 0 mate -1 n 2 w1 l0 r2\n"                                     \
    "role 0 id 2 group 1 mate -1 n 2 w1 l0 r1\n"                                                   \
    "role 0 id 3 group 1 mate -1 n 2 w1 l0 r2\n"

static void columns_are_shown(void **state)
{
    (void)state;
    shown("pairs", PAIR_ROWS, 2, "", "survey" PAIR_LINES "loss" PAIR_LINES);
    shown("steps", STEP_ROWS, 2, "", "survey" STEP_LINES "loss" STEP_LINES);
    shown("lists", LIST_ROWS, 2, "", "survey" LIST_LINES "loss" LIST_LINES);
}

/* Each prompt with the next row's answer; the survey sees them, the loss and the counts do not. */
#define LABEL_LINES                                                                                \
    " seqs 3 toks 9\n"                                                                             \
    "role 0 id 0 group 0 mate -1 n 2 w1 l1 f3,-1\n"                                                \
    "role 0 id 2 group 1 mate -1 n 3 w1 l-1 f4.5,nan\n"                                            \
    "role 0 id 4 group 2 mate -1 n 4 w1 l1 fnan,nan\n"

static void mismatched_answers_are_surveyed(void **state)
{
    (void)state;
    shown("labels", LABEL_ROWS, 3, ",\"mismatched\":true,\"fields\":true",
          "survey" LABEL_LINES "role 1 id 1 group 0 mate -1 n 3 w1 l0 f3,-1\n"
          "role 1 id 3 group 1 mate -1 n 4 w1 l0 f4.5,nan\n"
          "role 1 id 5 group 2 mate -1 n 2 w1 l0 fnan,nan\n"
          "loss" LABEL_LINES);
}

/* A row is never its own mismatch, even where an epoch ends inside the step. */
static void rows_that_come_twice_are_passed_over(void **state)
{
    (void)state;
    tiny t = tiny_make();
    dw_err err = {{0}};
    dw_live l;
    dw_set s;
    dw_run_options o = options(&t);
    dw_plan *p = plan_of(&t, "labels", LABEL_ROWS, 8, ",\"mismatched\":true");
    tiny_must(dw_live_open(&l, p, NULL, &o, &err), &err);
    tiny_must(dw_set_from_rows(&s, &l.job.task[0], &t.arena, 0, 8, 0, &err), &err);
    assert_int_equal(s.n_loss, 8);
    assert_int_equal(s.n_seq, 16);
    for (size_t i = 0; i < 8; i++) {
        assert_ptr_equal(s.seq[8 + i].row, s.seq[i].row);
        assert_ptr_not_equal(s.pack[8 + i].completion, s.pack[i].completion);
    }
    dw_live_close(&l);
    dw_plan_free(p);
    tiny_finish(&t);
}

static void refused(const char *rows, int per_step, const char *more, const char *want)
{
    tiny t = tiny_make();
    dw_err err = {{0}};
    dw_live l;
    dw_run_options o = options(&t);
    dw_plan *p = plan_of(&t, "labels", rows, per_step, more);
    assert_true(dw_live_open(&l, p, NULL, &o, &err) < 0);
    if (!strstr(err.text, want))
        fail_msg("%s", err.text);
    dw_live_close(&l);
    dw_plan_free(p);
    tiny_finish(&t);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    refused(LABEL_ROWS, 1, ",\"mismatched\":true", "give it batch = { rows = 2 } or more");
    refused(LABEL_ROWS "{\"prompt\":\"r\",\"completion\":\"c\",\"label\":1,\"n\":[]}\n", 2,
            ",\"fields\":true", "rows.jsonl:4:46: field \"n\", which an objective reads");
}

static double distance(const double *x, const double *y, size_t n)
{
    double diff = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        diff += (x[i] - y[i]) * (x[i] - y[i]);
        norm += y[i] * y[i];
    }
    assert_true(norm > 1e-6);
    return sqrt(diff / norm);
}

/* Lines that begin with "loss" or "role" in what was seen by loss() alone. */
static size_t count(const char *text, const char *word)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, word)); p++)
        n++;
    return n;
}

static void cuts_change_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *type, *rows, *more;
        size_t n_rows;
    } all[] = {{"pairs", PAIR_ROWS, "", 2},
               {"steps", STEP_ROWS, "", 2},
               {"lists", LIST_ROWS, "", 2},
               {"labels", LABEL_ROWS, ",\"mismatched\":true", 3}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        tiny t = tiny_make();
        size_t n;
        dw_plan *p = plan_of(&t, all[i].type, all[i].rows, (int)all[i].n_rows, all[i].more);
        double *whole = step(&t, p, 4096, &n);
        assert_int_equal(count(seen(&t), "loss"), 1);
        dw_plan_free(p);
        p = plan_of(&t, all[i].type, all[i].rows, (int)all[i].n_rows, all[i].more);
        double *cut = step(&t, p, 1, &n);
        assert_int_equal(count(seen(&t), "loss"), all[i].n_rows); /* rows stay whole */
        assert_true(distance(cut, whole, n) < 1e-5);
        dw_plan_free(p);
        tiny_finish(&t);
    }
}

/* A pack's rows: those it says it will make, and each token's own where it has one. */
static void check_pack(const dw_packable *s, size_t n)
{
    dw_arena a = {0};
    dw_pack p;
    dw_pack_build(&a, s, n, &p);
    assert_int_equal(p.forest.n_row, dw_pack_rows(s, n));
    for (size_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < s[i].n_completion; k++) {
            uint32_t t = p.start[i] + k, row = p.row_of[t];
            bool last = k + 1 == s[i].n_completion;
            if (last && !s[i].with_last) {
                assert_true(row == UINT32_MAX);
                continue;
            }
            assert_true(row < p.forest.n_row);
            assert_int_equal(p.forest.id[row], s[i].completion[k]);
            if (!last)
                assert_int_equal(p.pair[p.pair_of[t + 1]].row, row);
        }
    for (size_t k = 1; k < p.n_tok; k++)
        assert_true(p.pair[k - 1].row <= p.pair[k].row);
    dw_arena_finish(&a);
}

static void packs_know_their_rows(void **state)
{
    (void)state;
    static const int32_t id[] = {10, 11, 12, 13, 14, 15, 16, 17, 18, 19};
    for (int last = 0; last < 2; last++) {
        const uint8_t w = (uint8_t)last;
        const dw_packable s[] = {{id, id + 2, 2, 3, 0, w},
                                 {id, id + 5, 2, 1, 0, w},
                                 {id, id + 6, 2, 4, 0, w},
                                 {id + 1, id + 2, 1, 1, 1, w},
                                 {id + 1, id + 3, 2, 2, 2, w}};
        check_pack(s, 5);
        check_pack(s, 3);
        check_pack(s + 3, 1);
        check_pack(s + 3, 2);
        assert_int_equal(dw_pack_cut(s, 5, 0, 1), 3);
        assert_int_equal(dw_pack_rows(s, 3), last ? 2 + 3 + 1 + 4 : 2 + 2 + 0 + 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(columns_are_shown),
                                       cmocka_unit_test(mismatched_answers_are_surveyed),
                                       cmocka_unit_test(rows_that_come_twice_are_passed_over),
                                       cmocka_unit_test(what_cannot_be_is_refused),
                                       cmocka_unit_test(cuts_change_nothing),
                                       cmocka_unit_test(packs_know_their_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
