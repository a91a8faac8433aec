/* The pool runs every task once, for any number of threads, whether the workers spin or sleep. */
#include <stdatomic.h>
#include <unistd.h>

#include "tensor/pool.h"
#include "tensors.h"

enum { TASKS = 1000 };

typedef struct counts {
    _Atomic int n[TASKS];
    _Atomic int bad_thread;
    int threads;
} counts;

static void count(void *ctx, size_t task, int thread)
{
    counts *c = ctx;
    atomic_fetch_add(&c->n[task], 1);
    if (thread < 0 || thread >= c->threads)
        atomic_store(&c->bad_thread, 1);
}

static void every_task_runs_once(void **state)
{
    for (int threads = 1; threads <= 9; threads += 2) {
        dw_pool *p;
        dw_err err;
        assert_int_equal(dw_pool_create(threads, &p, &err), DW_OK);
        assert_int_equal(dw_pool_threads(p), threads);
        for (int round = 0; round < 300; round++) {
            static counts c;
            memset(&c, 0, sizeof c);
            c.threads = threads;
            size_t n = (size_t)(round * 37 % (TASKS + 1));
            dw_pool_run(p, n, count, &c);
            for (size_t i = 0; i < TASKS; i++)
                assert_int_equal(c.n[i], i < n ? 1 : 0);
            assert_int_equal(c.bad_thread, 0);
        }
        dw_pool_destroy(p);
    }
}

/* Plain memory written by a task must be seen by the caller, and memory written by the caller
 * between two runs by the tasks: the thread sanitizer checks it here. */
typedef struct handover {
    long in, out[64];
} handover;

static void double_it(void *ctx, size_t task, int thread)
{
    handover *h = ctx;
    h->out[task] = 2 * h->in + (long)task;
}

static void memory_is_handed_over(void **state)
{
    dw_pool *p;
    dw_err err;
    assert_int_equal(dw_pool_create(3, &p, &err), DW_OK);
    handover h = {0};
    for (long i = 0; i < 20000; i++) {
        h.in = i;
        dw_pool_run(p, 1 + (size_t)i % 64, double_it, &h);
        assert_int_equal(h.out[i % 64], 2 * i + i % 64);
        if (i % 2000 == 0)
            (void)usleep(2000); /* long enough for the workers to fall asleep */
    }
    dw_pool_destroy(p);
}

static void slow_last(void *ctx, size_t task, int thread)
{
    if (task == 1)
        (void)usleep(3000); /* the caller falls asleep and must be woken */
    atomic_fetch_add((_Atomic int *)ctx, 1);
}

static void caller_sleeps(void **state)
{
    dw_pool *p;
    dw_err err;
    assert_int_equal(dw_pool_create(2, &p, &err), DW_OK);
    for (int i = 0; i < 20; i++) {
        _Atomic int done = 0;
        dw_pool_run(p, 2, slow_last, &done);
        assert_int_equal(done, 2);
    }
    dw_pool_destroy(p);
}

static void start_and_stop(void **state)
{
    for (int i = 0; i < 200; i++) {
        dw_pool *p;
        dw_err err;
        assert_int_equal(dw_pool_create(1 + i % 5, &p, &err), DW_OK);
        dw_pool_destroy(p);
    }
    dw_pool_destroy(NULL);
}

static void silly_numbers_are_refused(void **state)
{
    dw_pool *p;
    dw_err err;
    assert_int_equal(dw_pool_create(-1, &p, &err), DW_E_USAGE);
    assert_non_null(strstr(err.text, "-1 threads"));
    assert_int_equal(dw_pool_create(1000000, &p, &err), DW_E_USAGE);
    assert_int_equal(dw_pool_create(0, &p, &err), DW_OK);
    assert_true(dw_pool_threads(p) >= 1);
    dw_pool_destroy(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_once),
        cmocka_unit_test(memory_is_handed_over),
        cmocka_unit_test(caller_sleeps),
        cmocka_unit_test(start_and_stop),
        cmocka_unit_test(silly_numbers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
