/* Frozen weights by the way they are kept, on a model from disk: whole (row by row and packed),
 * packed as float32, packed as bf16. First, each in a process of its own: seconds to open it and to
 * run the first pass, memory of the model and peak of the process. Then, side by side in one
 * process and turn by turn: decoding, and training steps of an adapter. With one thread the clock
 * is processor time. Usage: bench_storage MODEL [threads [rounds]] */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "model/engine_internal.h"
#include "model/generate.h"

enum { FORMS = 3, MOST_ROUNDS = 99, LEN = 256, BATCH = 2, ROWS = LEN * BATCH };
static const char *const name[FORMS] = {"whole", "float32", "bf16"};
static dw_exec exec;

static double processor_time(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static _Noreturn void die(const char *text)
{
    (void)fprintf(stderr, "bench_storage: %s\n", text);
    exit(9);
}

static dw_model *open_form(const char *dir, int form, bool adapted)
{
    static const dw_lora_spec lora = {.rank = 16, .alpha = 32, .targets = DW_LORA_ALL};
    const dw_model_options o = {.trainable = adapted,
                                .lora = adapted ? &lora : NULL,
                                .writable = form == 0,
                                .storage = form == 2 ? DW_STORE_BF16 : DW_STORE_F32,
                                .no_tokenizer = true};
    dw_model *m = NULL;
    dw_err err;
    if (dw_model_open(&exec, dir, &o, &m, &err) < 0)
        die(err.text);
    return m;
}

/* Seconds of a forward pass, the head and, for an adapter, backward over BATCH sequences. */
static double step(dw_engine *e, const dw_model *m, bool train)
{
    static int32_t id[ROWS];
    static dw_segment seg[BATCH];
    static dw_head_pair pair[ROWS];
    static double logp[ROWS], d[ROWS];
    dw_err err;
    size_t n = 0;
    for (uint32_t s = 0; s < BATCH; s++) {
        seg[s] = (dw_segment){s * LEN, LEN, -1, 0};
        for (uint32_t i = 0; i < LEN; i++)
            id[s * LEN + i] =
                (int32_t)dw_random_below(7, DW_RNG_TEST, s, i, dw_model_description(m)->vocab);
        for (uint32_t i = 0; i + 1 < LEN; i++) {
            d[n] = -1.0 / ROWS;
            pair[n++] = (dw_head_pair){s * LEN + i, id[s * LEN + i + 1]};
        }
    }
    const dw_forest f = {id, ROWS, seg, BATCH};
    dw_head_out out = {.logp = logp};
    const double start = dw_now();
    if (dw_engine_forward(e, &f, train ? DW_PASS_SAVE : 0, &err) < 0 ||
        dw_engine_head(e, pair, n, 1, (dw_head_wants){.entropy_grad = false}, &out, &err) < 0 ||
        (train && dw_engine_backward(e, &(dw_engine_grads){.logp = d}, &err) < 0))
        die(err.text);
    return dw_now() - start;
}

static double decode(dw_model *m, size_t n)
{
    enum { PROMPT = 16, NEW = 17 };
    int32_t prompt[PROMPT];
    dw_gen_item item[32];
    dw_generator *g;
    dw_err err;
    for (size_t i = 0; i < PROMPT; i++)
        prompt[i] = (int32_t)(i + 40);
    for (size_t i = 0; i < n; i++)
        item[i] = (dw_gen_item){.prompt = prompt, .n_prompt = PROMPT, .key = i};
    dw_sampling s = {.temperature = 1, .top_p = 1, .max_live = (uint32_t)n};
    double at[2];
    if (dw_generator_create(m, &g, &err) < 0)
        die(err.text);
    for (int k = 0; k < 2; k++) { /* what the prompt takes is in both */
        s.max_new = k ? NEW : 1;
        const double start = dw_now();
        if (dw_generate(g, &s, item, n, NULL, NULL, &err) < 0)
            die(err.text);
        at[k] = dw_now() - start;
        for (size_t i = 0; i < n; i++)
            dw_gen_item_finish(&item[i]);
    }
    dw_generator_destroy(g);
    return (at[1] - at[0]) / (NEW - 1);
}

/* In a process of its own. */
static void memory(const char *dir, int form, int threads)
{
    dw_err err;
    dw_engine *e;
    (void)fflush(stdout);
    const pid_t child = fork();
    if (child < 0)
        die("no process");
    if (child > 0) {
        (void)waitpid(child, NULL, 0);
        return;
    }
    if (dw_exec_init(&exec, threads, NULL, &err) < 0)
        die(err.text);
    for (int adapted = 0; adapted < 2; adapted++) {
        double start = dw_now();
        dw_model *m = open_form(dir, form, adapted);
        const double opened = dw_now() - start;
        if (dw_engine_create(m, &e, &err) < 0)
            die(err.text);
        start = dw_now();
        (void)step(e, m, adapted);
        const double first = dw_now() - start;
        struct rusage use;
        (void)getrusage(RUSAGE_SELF, &use);
        (void)printf(
            "%-8s %-9s open %6.3f s  first pass %6.2f s  model %7.1f MiB  peak %7.1f MiB\n",
            name[form], adapted ? "adapter" : "scoring", opened, first,
            (double)dw_model_bytes(m) / 1048576, (double)use.ru_maxrss / 1024);
        dw_engine_destroy(e);
        dw_model_free(m);
    }
    (void)fflush(stdout);
    _exit(0);
}

static int ascending(const void *a, const void *b)
{
    const double d = *(const double *)a - *(const double *)b;
    return d < 0 ? -1 : d > 0;
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, ascending);
    return v[n / 2];
}

static void put(const char *what, double v[FORMS][MOST_ROUNDS], int rounds)
{
    double m[FORMS];
    for (int f = 0; f < FORMS; f++)
        m[f] = median(v[f], rounds) * 1e3;
    (void)printf("%-18s whole %8.2f ms  float32 %8.2f  bf16 %8.2f  speed bf16 / float32 %.2f\n",
                 what, m[0], m[1], m[2], m[1] / m[2]);
    (void)fflush(stdout);
}

static void speed(const char *dir, int rounds, bool adapted)
{
    static const size_t batch[] = {1, 8};
    static double v[FORMS][MOST_ROUNDS];
    dw_model *m[FORMS];
    dw_engine *e[FORMS];
    dw_err err;
    for (int f = 0; f < FORMS; f++) {
        m[f] = open_form(dir, f, adapted);
        if (dw_engine_create(m[f], &e[f], &err) < 0)
            die(err.text);
        (void)step(e[f], m[f], adapted);
    }
    for (int r = 0; r < rounds; r++)
        for (int f = 0; f < FORMS; f++)
            v[f][r] = step(e[f], m[f], adapted);
    put(adapted ? "adapter step" : "scoring", v, rounds);
    for (int b = 0; b < 2 && !adapted; b++) {
        char what[32];
        for (int r = 0; r < rounds; r++)
            for (int f = 0; f < FORMS; f++)
                v[f][r] = decode(m[f], batch[b]);
        (void)snprintf(what, sizeof what, "decode batch %zu", batch[b]);
        put(what, v, rounds);
    }
    for (int f = 0; f < FORMS; f++) {
        dw_engine_destroy(e[f]);
        dw_model_free(m[f]);
    }
}

int main(int argc, char **argv)
{
    dw_err err;
    const int threads = argc > 2 ? atoi(argv[2]) : 0;
    int rounds = argc > 3 ? atoi(argv[3]) : 5;
    rounds = rounds < 1 ? 1 : rounds > MOST_ROUNDS ? MOST_ROUNDS : rounds;
    if (argc < 2)
        die("usage: bench_storage MODEL [threads [rounds]]");
    const dw_clock processor = {.now = processor_time};
    if (threads == 1)
        dw_clock_use(&processor);
    for (int f = 0; f < FORMS; f++)
        memory(argv[1], f, threads);
    if (dw_exec_init(&exec, threads, NULL, &err) < 0)
        die(err.text);
    (void)printf("kernel %s, %d threads, median of %d\n", dw_exec_kernel(&exec),
                 dw_pool_threads(exec.pool), rounds);
    speed(argv[1], rounds, false);
    speed(argv[1], rounds, true);
    dw_exec_finish(&exec);
    return 0;
}
