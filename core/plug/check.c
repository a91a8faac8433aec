/* `dowel check`: the conformance tests of a plugin, each in a process of its own with a time limit,
 * as TAP. */
#include "plug/check.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/rng.h"

/* ---- a test's words ---- */

__attribute__((format(printf, 2, 0))) static char *format(dw_check *c, const char *fmt, va_list ap)
{
    char text[2048];
    vsnprintf(text, sizeof text, fmt, ap);
    for (char *s = text; *s; s++)
        if ((unsigned char)*s < ' ')
            *s = ' ';
    return dw_arena_strdup(&c->arena, text);
}

bool dw_check_fail(dw_check *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    c->found = format(c, fmt, ap);
    va_end(ap);
    return false;
}

bool dw_check_skip(dw_check *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    c->skipped = format(c, fmt, ap);
    va_end(ap);
    return true;
}

void dw_check_note(dw_check *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    c->note = format(c, fmt, ap);
    va_end(ap);
}

void dw_check_now(dw_check *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->now, DW_CHECK_NOW, fmt, ap);
    va_end(ap);
}

uint64_t dw_check_below(const dw_check *c, uint64_t key, uint64_t i, uint64_t n)
{
    return n ? dw_random_below(c->seed, DW_RNG_TEST, key, i, n) : 0;
}

double dw_check_uniform(const dw_check *c, uint64_t key, uint64_t i, double lo, double hi)
{
    return lo + (hi - lo) * dw_random_unit(c->seed, DW_RNG_TEST, key, i);
}

/* ---- tests that are passed by being here ---- */

/* What the loader and the tables refuse never gets as far as a test; `check` shows its message. */
static bool was_loaded(dw_check *c)
{
    return c->info != NULL;
}

/* ---- the table ---- */

typedef struct row {
    const char *name;
    dw_check_fn fn; /* NULL: done while loading */
    const char *about;
} row;

enum { ONLY_SYMBOL, LOAD_NOW, MODULE_HEADER, FIRST_TEST };
static const row rows[] = {
    [ONLY_SYMBOL] = {"only-symbol", NULL, "exports dowel_module_v1 and nothing else"},
    [LOAD_NOW] = {"load-now", NULL,
                  "loads within a second and leaves floating-point mode, locale, signal handlers, "
                  "folder and environment alone"},
    [MODULE_HEADER] = {"module-header", was_loaded,
                       "magic, versions, sizes, ids, texts and the table of options are in order"},
    {"params-default", dw_test_params_default, "the defaults work and every option is in the help"},
    {"params-bounds", dw_test_params_bounds,
     "every option at its least, its greatest and each of its choices: finite or refused in words"},
    {"params-random", dw_test_params_random, "the same for 50 random settings"},
    {"create-destroy", dw_test_create_destroy,
     "100 times, two instances at once, and no memory is left behind"},
    {"observe", dw_test_observe, "asks for the same every time, also with options at their ends"},
    {"null-columns", dw_test_null_columns,
     "reads no column that it did not ask for, and none beyond its end"},
    {"odd", dw_test_odd, "no sequence, one, ninety, and sequences of which nothing counts"},
    {"gradcheck", dw_test_gradcheck,
     "derivatives are the loss's central differences, 1e-6; factors computed from HELD_LOGP are "
     "constants"},
    {"split", dw_test_split,
     "a step in 1, 2, 3 and n batches, on one instance and dealt over two: the same to 1e-12"},
    {"permute", dw_test_permute, "the order of sequences (whole groups) changes nothing"},
    {"loss-stateless", dw_test_stateless, "survey and loss twice: the same, and the same state"},
    {"canary", dw_test_canary, "nothing is written outside the output arrays"},
    {"pure", dw_test_pure, "what claims DOWEL_PURE gives the same bits for the same input"},
    {"reentrant", dw_test_reentrant,
     "what claims DOWEL_REENTRANT gives the same bits on 8 threads at once"},
    {"state-roundtrip", dw_test_state_roundtrip,
     "saved, loaded and continued is continued without a stop"},
    {"state-bytes", dw_test_state_bytes, "the same state is saved as the same bytes"},
    {"state-empty", dw_test_state_empty, "a state without bytes is refused"},
    {"state-truncated", dw_test_state_truncated, "so is one cut off anywhere, or too long"},
    {"state-random", dw_test_state_random, "random bytes are refused, or can be lived with"},
    {"batch-size", dw_test_batch_size, "samples scored together or group by group score the same"},
    {"spans", dw_test_spans, "spans lie inside the completion and say how to credit"},
    {"judge-sane", dw_test_judge_sane, "verdicts are probabilities; symmetric means symmetric"},
    {"cancelled", dw_test_cancelled, "calls end within a second of being told to"},
};
enum { N_ROW = sizeof rows / sizeof *rows };

void dw_check_list(dw_buf *out)
{
    for (size_t k = 0; k < N_ROW; k++)
        dw_buf_printf(out, "%-16s %s\n", rows[k].name, rows[k].about);
}

/* ---- one test in a child ---- */

enum { PASSED = 'p', FAILED = 'f', SKIPPED = 's' };
typedef struct verdict {
    char kind;
    char text[3000]; /* why it failed, was skipped, or what was looked at */
} verdict;

static void judge(dw_check *c, dw_check_fn fn, verdict *v)
{
    bool good = fn(c);
    const char *text = !good        ? c->found ? c->found : "it failed without saying why"
                       : c->skipped ? c->skipped
                       : c->note    ? c->note
                                    : "";
    v->kind = !good ? FAILED : c->skipped ? SKIPPED : PASSED;
    snprintf(v->text, sizeof v->text, "%s", text);
}

static void died(verdict *v, int status, double limit, bool late, const char *now)
{
    v->kind = FAILED;
    if (late)
        snprintf(v->text, sizeof v->text, "took more than %g s, in: %.*s", limit, DW_CHECK_NOW,
                 now);
    else if (WIFSIGNALED(status))
        snprintf(v->text, sizeof v->text, "killed by signal %d (%s), in: %.*s", WTERMSIG(status),
                 strsignal(WTERMSIG(status)), DW_CHECK_NOW, now);
    else
        snprintf(v->text, sizeof v->text, "ended the process with code %d, in: %.*s",
                 WEXITSTATUS(status), DW_CHECK_NOW, now);
}

/* Reads the child's verdict until it ends or time is up. */
static bool wait_for(int fd, verdict *v, double limit)
{
    double end = dw_now() + limit;
    size_t got = 0;
    while (got < sizeof *v) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        double left = end - dw_now();
        if (left <= 0 || (poll(&p, 1, (int)(left * 1000) + 1) == 0 && dw_now() >= end))
            return false;
        ssize_t n = read(fd, (char *)v + got, sizeof *v - got);
        if (n == 0)
            return true;
        if (n > 0)
            got += (size_t)n;
        else if (errno != EINTR)
            return true;
    }
    return true;
}

/* Runs body(ctx) in a child; *v is its verdict whatever becomes of it. */
typedef void (*body_fn)(void *ctx, verdict *v);
static void in_child(body_fn body, void *ctx, double limit, char *now, verdict *v)
{
    int fd[2], status = 0;
    *v = (verdict){0};
    now[0] = 0;
    fflush(NULL);
    if (pipe2(fd, O_CLOEXEC)) {
        snprintf(v->text, sizeof v->text, "%s", strerror(errno));
        v->kind = FAILED;
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        verdict *mine = calloc(1, sizeof *mine);
        close(fd[0]);
        if (mine)
            body(ctx, mine);
        for (size_t at = 0; mine && at < sizeof *mine;) {
            ssize_t n = write(fd[1], (char *)mine + at, sizeof *mine - at);
            if (n <= 0)
                break;
            at += (size_t)n;
        }
        _exit(0);
    }
    close(fd[1]);
    bool ended = pid > 0 && wait_for(fd[0], v, limit);
    close(fd[0]);
    if (!ended && pid > 0)
        kill(pid, SIGKILL);
    if (pid > 0)
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    if (!v->kind)
        died(v, status, limit, !ended, now);
}

typedef struct test {
    dw_check c;
    dw_check_fn fn;
} test;

static void test_body(void *ctx, verdict *v)
{
    test *t = ctx;
    judge(&t->c, t->fn, v);
}

/* ---- loading, in a child of its own ---- */

typedef struct loading {
    dw_registry *reg;
    const char *word;
    bool file;
    int row;
} loading;

static dw_status find(const loading *l, const dw_plugin_info **out, dw_err *err)
{
    if (!l->file)
        return dw_registry_find(l->reg, l->word, NULL, out, err);
    DW_TRY(dw_registry_load_file(l->reg, l->word, err));
    *out = dw_registry_at(l->reg, 0);
    return DW_OK;
}

typedef struct surroundings {
    char cwd[4096];
    struct sigaction sig[32];
    size_t n_env;
    dw_fpmode fp;
} surroundings;

static void look_around(surroundings *s)
{
    extern char **environ;
    memset(s, 0, sizeof *s);
    if (!getcwd(s->cwd, sizeof s->cwd))
        s->cwd[0] = 0;
    for (int k = 1; k < 32; k++)
        sigaction(k, NULL, &s->sig[k]);
    for (char **e = environ; *e; e++)
        s->n_env += strlen(*e) + 1;
    s->fp = dw_fpmode_get();
}

static const char *changed(const surroundings *a, const surroundings *b)
{
    for (int k = 1; k < 32; k++)
        if (a->sig[k].sa_handler != b->sig[k].sa_handler ||
            a->sig[k].sa_flags != b->sig[k].sa_flags)
            return "a signal's handler";
    return strcmp(a->cwd, b->cwd)      ? "the working directory"
           : a->n_env != b->n_env      ? "the environment"
           : dw_fpmode_restore(&a->fp) ? "the floating-point mode or the locale"
                                       : NULL;
}

/* Dynamic symbols that are defined and visible, other than the module. */
static bool symbols_of(const char *path, verdict *v)
{
    dw_buf b = {0};
    dw_err err = {{0}};
    if (dw_file_read(path, (size_t)1 << 30, &b, &err) < 0) {
        snprintf(v->text, sizeof v->text, "%s", err.text);
        return false;
    }
    const Elf64_Ehdr *h = (const void *)b.ptr;
    const Elf64_Shdr *sec = (const void *)(b.ptr + h->e_shoff);
    bool good = true;
    for (unsigned k = 0; good && k < h->e_shnum; k++) {
        if (sec[k].sh_type != SHT_DYNSYM)
            continue;
        const Elf64_Sym *sym = (const void *)(b.ptr + sec[k].sh_offset);
        const char *names = b.ptr + sec[sec[k].sh_link].sh_offset;
        for (size_t s = 0; good && s < sec[k].sh_size / sizeof *sym; s++) {
            const char *name = names + sym[s].st_name;
            if (sym[s].st_shndx == SHN_UNDEF || !strcmp(name, "dowel_module_v1") ||
                name[0] == '_') /* of the linker, or a sanitizer */
                continue;
            snprintf(v->text, sizeof v->text,
                     "exports '%s' as well; build it with -fvisibility=hidden or make it static",
                     name);
            good = false;
        }
    }
    dw_buf_finish(&b);
    return good;
}

static void load_body(void *ctx, verdict *v)
{
    const loading *l = ctx;
    const dw_plugin_info *p = NULL;
    dw_err err = {{0}};
    surroundings before, after;
    look_around(&before);
    double at = dw_now();
    dw_status st = find(l, &p, &err);
    double took = dw_now() - at;
    look_around(&after);
    const char *what = changed(&before, &after);
    v->kind = FAILED;
    if (st < 0)
        snprintf(v->text, sizeof v->text, "%s", err.text);
    else if (l->row == ONLY_SYMBOL)
        v->kind = symbols_of(p->path, v) ? PASSED : FAILED;
    else if (what)
        snprintf(v->text, sizeof v->text, "loading it changed %s", what);
    else if (took > 1)
        snprintf(v->text, sizeof v->text, "loading it took %.1f s, expected less than one", took);
    else
        v->kind = PASSED;
}

/* ---- TAP ---- */

typedef struct report {
    dw_buf *out;
    const dw_check_request *ask;
    size_t n, failed;
    const char *id;
} report;

static void put_tap(report *r, const row *of, const verdict *v)
{
    dw_buf_printf(r->out, "%sok %zu %s - %s%s%s\n", v->kind == FAILED ? "not " : "", r->n, of->name,
                  of->about, v->kind == SKIPPED ? " # SKIP " : "",
                  v->kind == SKIPPED ? v->text : "");
    if (v->kind == PASSED && v->text[0])
        dw_buf_printf(r->out, "# %s\n", v->text);
    if (v->kind == FAILED)
        dw_buf_printf(r->out, "# %s\n# again: dowel check %s --in-process %s --seed %llu\n",
                      v->text, r->ask->word, of->name, (unsigned long long)r->ask->seed);
}

static void put_json(report *r, const row *of, const verdict *v)
{
    dw_buf_adds(r->out, "{\"plugin\":");
    dw_json_put_cstr(r->out, r->id ? r->id : r->ask->word);
    dw_buf_printf(r->out, ",\"test\":\"%s\",\"result\":\"%s\",\"seed\":%llu,\"text\":", of->name,
                  v->kind == FAILED    ? "failed"
                  : v->kind == SKIPPED ? "skipped"
                                       : "passed",
                  (unsigned long long)r->ask->seed);
    dw_json_put_cstr(r->out, v->text);
    dw_buf_adds(r->out, "}\n");
}

static void put(report *r, const row *of, const verdict *v)
{
    r->n++;
    r->failed += v->kind == FAILED;
    if (r->ask->json)
        put_json(r, of, v);
    else
        put_tap(r, of, v);
    if (r->ask->line)
        r->ask->line(r->ask->line_ctx, r->out);
}

static bool chosen(const dw_check_request *ask, const row *r)
{
    return !ask->only || !strcmp(ask->only, r->name);
}

static void run_rows(report *r, const dw_plugin_info *info, char *now)
{
    const dw_check_request *ask = r->ask;
    for (size_t k = 0; k < N_ROW; k++) {
        test t = {.c = {.info = info, .seed = ask->seed, .now = now}, .fn = rows[k].fn};
        verdict v = {0};
        if (!rows[k].fn || !chosen(ask, &rows[k]))
            continue;
        if (ask->only)
            test_body(&t, &v); /* for a debugger */
        else
            in_child(test_body, &t, ask->limit, now, &v);
        put(r, &rows[k], &v);
    }
}

static bool run_load(report *r, dw_registry *reg, char *now)
{
    const dw_check_request *ask = r->ask;
    for (int k = 0; k < FIRST_TEST; k++) {
        loading l = {reg, ask->word, ask->file, k};
        verdict v = {0};
        if (rows[k].fn || !chosen(ask, &rows[k]))
            continue;
        if (ask->only)
            load_body(&l, &v);
        else
            in_child(load_body, &l, ask->limit, now, &v);
        put(r, &rows[k], &v);
        if (k == LOAD_NOW && v.kind == FAILED)
            return false;
    }
    return true;
}

static bool is_test(const char *name)
{
    for (size_t k = 0; k < N_ROW; k++)
        if (!strcmp(rows[k].name, name))
            return true;
    return false;
}

dw_status dw_check_run(dw_registry *reg, const dw_check_request *ask, dw_buf *out, size_t *failed,
                       dw_err *err)
{
    report r = {.out = out, .ask = ask};
    loading l = {reg, ask->word, ask->file, 0};
    const dw_plugin_info *info = NULL;
    if (ask->only && !is_test(ask->only))
        return dw_fail(err, DW_E_USAGE, "no test '%s'; --list names them", ask->only);
    char *now = mmap(NULL, DW_CHECK_NOW, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (now == MAP_FAILED)
        return dw_fail(err, DW_E_LIMIT, "no memory");
    dw_status st = DW_OK;
    if (run_load(&r, reg, now)) {
        st = find(&l, &info, err);
        for (size_t k = 0; st == DW_OK && k < dw_registry_count(reg); k++) {
            const dw_plugin_info *p = dw_registry_at(reg, k);
            if (!ask->file && p != info)
                continue; /* loaded on the way */
            r.id = p->plugin.id;
            if (!ask->json)
                dw_buf_printf(out, "# %s %s, seed %llu\n", p->plugin.id, p->plugin.version,
                              (unsigned long long)ask->seed);
            run_rows(&r, p, now);
        }
    }
    munmap(now, DW_CHECK_NOW);
    if (!ask->json)
        dw_buf_printf(out, "1..%zu\n", r.n);
    *failed = r.failed;
    return st;
}
