/* The thread pool: one 64-bit ticket deals the tasks, so that a worker who comes late delays
 * nobody. */
#include "tensor/pool.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"

enum { SPIN_NS = 50000, SPIN_BATCH = 32, MAX_THREADS = 1024 };

#define CLOSED UINT32_MAX /* as the lower half of a ticket: no task */

typedef struct worker {
    dw_pool *pool;
    pthread_t thread;
    int index;
} worker;

struct dw_pool {
    /* Generation in the upper half, next task in the lower. A task is taken by compare-and-swap,
     * and the ticket is closed before fn, ctx and n are rewritten, so whoever takes a task has read
     * the three of its generation: seeing a newer one (acquire) means that the swap must fail. */
    _Atomic uint64_t ticket;
    _Atomic(dw_task) fn;
    _Atomic(void *) ctx;
    _Atomic uint32_t n;
    char pad1[64];            /* own cache lines for what others write */
    _Atomic uint32_t pending; /* tasks not finished; the caller sleeps on it */
    _Atomic uint32_t caller_asleep;
    char pad2[64];
    _Atomic uint32_t generation; /* workers sleep on it */
    _Atomic uint32_t sleepers;
    _Atomic bool stop;
    atomic_flag running;
    int n_threads;
    worker *worker; /* [n_threads - 1] */
};

static void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    (void)syscall(SYS_futex, (void *)word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int n)
{
    (void)syscall(SYS_futex, (void *)word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Spins while *word == value, for about SPIN_NS; true when it changed. */
static bool spin_while(_Atomic uint32_t *word, uint32_t value)
{
    int64_t end = 0;
    for (;;) {
        for (int i = 0; i < SPIN_BATCH; i++) {
            if (atomic_load_explicit(word, memory_order_acquire) != value)
                return true;
            cpu_relax();
        }
        int64_t now = now_ns();
        if (end == 0)
            end = now + SPIN_NS;
        else if (now > end)
            return false;
    }
}

static void work(dw_pool *p, int thread)
{
    uint64_t t = atomic_load_explicit(&p->ticket, memory_order_acquire);
    for (;;) {
        dw_task fn = atomic_load_explicit(&p->fn, memory_order_acquire);
        void *ctx = atomic_load_explicit(&p->ctx, memory_order_acquire);
        uint32_t n = atomic_load_explicit(&p->n, memory_order_acquire);
        uint32_t task = (uint32_t)t;
        if (task >= n)
            return;
        if (!atomic_compare_exchange_weak_explicit(&p->ticket, &t, t + 1, memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        fn(ctx, task, thread);
        if (atomic_fetch_sub_explicit(&p->pending, 1, memory_order_seq_cst) == 1 &&
            atomic_load_explicit(&p->caller_asleep, memory_order_seq_cst))
            futex_wake(&p->pending, 1);
        t = atomic_load_explicit(&p->ticket, memory_order_acquire);
    }
}

static void *worker_main(void *arg)
{
    worker *w = arg;
    dw_pool *p = w->pool;
    uint32_t seen = 0;
    for (;;) {
        while (!spin_while(&p->generation, seen)) {
            atomic_fetch_add_explicit(&p->sleepers, 1, memory_order_seq_cst);
            futex_wait(&p->generation, seen);
            atomic_fetch_sub_explicit(&p->sleepers, 1, memory_order_seq_cst);
        }
        seen = atomic_load_explicit(&p->generation, memory_order_acquire);
        if (atomic_load_explicit(&p->stop, memory_order_acquire))
            return NULL;
        work(p, w->index);
    }
}

static void publish(dw_pool *p)
{
    atomic_fetch_add_explicit(&p->generation, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&p->sleepers, memory_order_seq_cst) > 0)
        futex_wake(&p->generation, MAX_THREADS);
}

void dw_pool_run(dw_pool *p, size_t n, dw_task fn, void *ctx)
{
    if (n == 0)
        return;
    dw_assert(!atomic_flag_test_and_set_explicit(&p->running, memory_order_acquire));
    if (p->n_threads == 1 || n == 1) {
        for (size_t i = 0; i < n; i++)
            fn(ctx, i, 0);
        atomic_flag_clear_explicit(&p->running, memory_order_release);
        return;
    }
    dw_assert(n < UINT32_MAX / 2);
    uint64_t next = ((atomic_load_explicit(&p->ticket, memory_order_relaxed) >> 32) + 1) << 32;
    atomic_store_explicit(&p->ticket, next | CLOSED, memory_order_relaxed);
    atomic_store_explicit(&p->fn, fn, memory_order_release);
    atomic_store_explicit(&p->ctx, ctx, memory_order_release);
    atomic_store_explicit(&p->n, (uint32_t)n, memory_order_release);
    atomic_store_explicit(&p->pending, (uint32_t)n, memory_order_relaxed);
    atomic_store_explicit(&p->ticket, next, memory_order_release);
    publish(p);
    work(p, 0);
    for (;;) {
        uint32_t left = atomic_load_explicit(&p->pending, memory_order_acquire);
        if (left == 0)
            break;
        if (spin_while(&p->pending, left))
            continue;
        atomic_store_explicit(&p->caller_asleep, 1, memory_order_seq_cst);
        left = atomic_load_explicit(&p->pending, memory_order_seq_cst);
        if (left != 0)
            futex_wait(&p->pending, left);
        atomic_store_explicit(&p->caller_asleep, 0, memory_order_seq_cst);
    }
    atomic_flag_clear_explicit(&p->running, memory_order_release);
}

static int cpu_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

dw_status dw_pool_create(int n_threads, dw_pool **out, dw_err *err)
{
    if (n_threads == 0)
        n_threads = cpu_count();
    if (n_threads < 1 || n_threads > MAX_THREADS)
        return dw_fail(err, DW_E_USAGE, "%d threads asked for, from 1 to %d are possible",
                       n_threads, MAX_THREADS);
    dw_pool *p = dw_zalloc(1, sizeof *p);
    p->worker = dw_zalloc((size_t)n_threads, sizeof *p->worker);
    p->n_threads = 1;
    atomic_init(&p->ticket, CLOSED);
    atomic_flag_clear(&p->running);
    for (int i = 1; i < n_threads; i++) {
        worker *w = &p->worker[i - 1];
        *w = (worker){.pool = p, .index = i};
        int rc = pthread_create(&w->thread, NULL, worker_main, w);
        if (rc != 0) {
            dw_pool_destroy(p);
            return dw_fail(err, DW_E_LIMIT,
                           "cannot start thread %d of %d: %s; ask for fewer threads", i + 1,
                           n_threads, strerror(rc));
        }
        p->n_threads = i + 1;
    }
    *out = p;
    return DW_OK;
}

void dw_pool_destroy(dw_pool *p)
{
    if (p == NULL)
        return;
    atomic_store_explicit(&p->stop, true, memory_order_release);
    publish(p);
    for (int i = 1; i < p->n_threads; i++)
        (void)pthread_join(p->worker[i - 1].thread, NULL);
    dw_free(p->worker);
    dw_free(p);
}

int dw_pool_threads(const dw_pool *p)
{
    return p->n_threads;
}
