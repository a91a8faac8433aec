/* Where a teacher is read: both distributions are those at the state before the token. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tiny.h"
#include "train/live.h"
#include "train/set.h"
#include "train/sweep.h"

enum { VOCAB = 257 };

#define TASK                                                                                       \
    "\"main\":{\"data\":{\"type\":\"completions\",\"files\":[\"DIR/chats.jsonl\"]},\"rows\":2,"    \
    "\"teacher\":\"old\",\"objectives\":{\"o\":{\"plugin\":\"gkd\",\"weight\":1,\"options\":{"     \
    "\"compare\":\"sorted\"}}}}"
#define OLD ",\"models\":{\"old\":{\"path\":\"DIR/model\",\"init\":true}}"

static int falling(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return a > b ? -1 : a < b;
}

/* Probabilities of all tokens after position `row` of a sequence, sorted. */
static void distribution(dw_engine *e, const dw_packable *p, uint32_t row, double *out)
{
    int32_t id[256];
    dw_head_pair pair[VOCAB];
    dw_head_out head = {.logp = out};
    dw_err err = {{0}};
    memcpy(id, p->prompt, p->n_prompt * sizeof *id);
    memcpy(id + p->n_prompt, p->completion, p->n_completion * sizeof *id);
    const dw_segment seg = {0, p->n_prompt + p->n_completion, -1, 0};
    const dw_forest f = {id, seg.len, &seg, 1};
    for (int32_t v = 0; v < VOCAB; v++)
        pair[v] = (dw_head_pair){row, v};
    tiny_must(dw_engine_forward(e, &f, 0, &err), &err);
    tiny_must(
        dw_engine_head(e, pair, VOCAB, 1, (dw_head_wants){.entropy_grad = false}, &head, &err),
        &err);
    for (int v = 0; v < VOCAB; v++)
        out[v] = exp(out[v]);
    qsort(out, VOCAB, sizeof *out, falling);
}

static double distance(dw_engine *a, dw_engine *b, const dw_packable *p, uint32_t row)
{
    double x[VOCAB], y[VOCAB], sum = 0;
    distribution(a, p, row, x);
    distribution(b, p, row, y);
    for (int v = 0; v < VOCAB; v++)
        sum += fabs(x[v] - y[v]);
    return sum;
}

/* Trap T41: read at the answer's own positions, every distribution would be that of the next token.
 */
static void t41_not_one_token_late(void **state)
{
    tiny t = tiny_make();
    dw_live l;
    dw_set s;
    dw_arena a = {0};
    dw_observed seen;
    dw_err err = {{0}};
    dw_plan *plan = tiny_plan(&t, TASK, "\"main\":1", OLD);
    dw_run_options o = tiny_options(&t, "none", 0);
    (void)state;
    tiny_must(dw_live_open(&l, plan, NULL, &o, &err), &err);
    tiny_must(dw_live_arm(&l, &err), &err);
    dw_live_task *task = &l.job.task[0];
    dw_engine *mine = task->model->e, *old = NULL;
    unsigned flags;
    tiny_must(dw_reference_engine(task->teacher, &old, &flags, &err), &err);
    tiny_must(dw_set_from_rows(&s, task, &a, 0, 2, 0, &err), &err);
    dw_view v = {.columns = DOWEL_BIT(DOWEL_DIVERGENCE),
                 .e = mine,
                 .divergence = task->divergence,
                 .temperature = 1};
    v.divergence.other = old;
    tiny_must(dw_sweep(&v, s.pack, s.n_seq, 4096, NULL, &a, &seen, &err), &err);
    double late = 0;
    for (size_t i = 0; i < s.n_seq; i++)
        for (uint32_t k = 0; k < s.pack[i].n_completion; k++) {
            double have = seen.x[DW_SEEN_DIVERGENCE][s.seq[i].tok + k];
            uint32_t before = s.pack[i].n_prompt + k - 1;
            assert_true(fabs(have - distance(mine, old, &s.pack[i], before)) < 1e-5);
            late = fmax(late, fabs(have - distance(mine, old, &s.pack[i], before + 1)));
        }
    assert_true(late > 1e-3);
    dw_arena_finish(&a);
    dw_live_close(&l);
    dw_plan_free(plan);
    tiny_finish(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(t41_not_one_token_late)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
