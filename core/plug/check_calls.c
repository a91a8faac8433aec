/* What `dowel check` asks of every plugin's calls: no leaks, no writes outside, the same answer
 * again and on other threads, a state that survives saving, an end when it is told to end. */
#include <errno.h>
#include <malloc.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "plug/check.h"

/* One episode on a fresh instance; 1, 0 or -1. */
static int fresh(dw_check *c, const dw_setting *set, uint64_t first, uint64_t steps, dw_result *r)
{
    dw_instance *i = NULL;
    dw_opened o = dw_check_open(c, set, &r->metrics, &i);
    if (o != DW_CHECK_OPEN)
        return o == DW_CHECK_REFUSED ? 0 : -1;
    int done = dw_check_episode(c, i, set, first, steps, r);
    dw_instance_destroy(i);
    return done;
}

static const dw_setting *defaults(dw_check *c)
{
    dw_setting *s;
    size_t n;
    return dw_check_settings(c, 0, 0, &s, &n) ? s : NULL;
}

/* ---- create-destroy ---- */

/* Creates and destroys two instances at once, `times` over; *grown: bytes that are in use more. */
static bool live_and_die(dw_check *c, const dw_setting *s, int times, size_t *grown)
{
    size_t before = mallinfo2().uordblks;
    for (int k = 0; k < times; k++) {
        dw_instance *a = NULL, *b = NULL;
        if (dw_check_open(c, s, NULL, &a) != DW_CHECK_OPEN ||
            dw_check_open(c, s, NULL, &b) != DW_CHECK_OPEN)
            return false;
        dw_instance_destroy(a);
        dw_instance_destroy(b);
    }
    size_t after = mallinfo2().uordblks;
    *grown = after > before ? after - before : 0;
    return true;
}

bool dw_test_create_destroy(dw_check *c)
{
    const dw_setting *s = defaults(c);
    enum { TIMES = 100, ROUNDS = 5 };
    size_t least = SIZE_MAX, grown;
    if (mallinfo2().uordblks == 0)
        return dw_check_skip(c, "this allocator keeps no count");
    for (int k = 0; k <= ROUNDS; k++) { /* the allocator's caches fill up, a leak goes on */
        if (!s || !live_and_die(c, s, TIMES, &grown))
            return false;
        if (k > 0 && grown < least)
            least = grown;
    }
    if (least >= 8 * TIMES)
        return dw_check_fail(c,
                             "%d pairs of instances left %zu bytes behind; destroy() has to free "
                             "what create() took",
                             TIMES, least);
    dw_check_note(c, "%d times, two at once", TIMES * (ROUNDS + 1));
    return true;
}

/* ---- canary, pure, reentrant ---- */

bool dw_test_canary(dw_check *c)
{
    dw_setting *s;
    size_t n;
    if (!dw_check_settings(c, DW_CHECK_CHOICES, 8, &s, &n))
        return false;
    for (size_t k = 0; k < n; k++) {
        dw_result r = {0};
        int done = fresh(c, &s[k], 0, 2, &r);
        if (done < 0)
            return dw_check_fail(c, "options %s: %s", s[k].text, c->found);
    }
    c->found = NULL;
    dw_check_note(c, "%zu settings", n);
    return true;
}

static uint64_t hash(uint64_t h, const void *bytes, size_t n)
{
    const unsigned char *b = bytes;
    for (size_t k = 0; k < n; k++)
        h = (h ^ b[k]) * UINT64_C(0x100000001b3);
    return h;
}

/* Everything that two steps with these options come to, as one number; 0: refused. */
static uint64_t digest(dw_check *c, const dw_setting *s)
{
    dw_result r = {0};
    if (fresh(c, s, 0, 2, &r) != 1)
        return 0;
    uint64_t h = hash(1, &r.loss, sizeof r.loss);
    for (size_t k = 0; k < r.n; k++)
        if (!isnan(r.x[k]))
            h = hash(h, &r.x[k], sizeof r.x[k]);
    return h | 1;
}

/* The digests again, by another process, forked before this one has made a call. */
static bool elsewhere(dw_check *c, const dw_setting *s, size_t n, uint64_t *out)
{
    const size_t bytes = n * sizeof *out;
    void *shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status = 0;
    if (shared == MAP_FAILED)
        return dw_check_fail(c, "no memory");
    pid_t pid = fork();
    if (pid == 0) {
        for (size_t k = 0; k < n; k++)
            ((uint64_t *)shared)[k] = digest(c, &s[k]);
        _exit(0);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    memcpy(out, shared, bytes);
    munmap(shared, bytes);
    return pid > 0 && status == 0 ? true : dw_check_fail(c, "the other process came to grief");
}

bool dw_test_pure(dw_check *c)
{
    dw_setting *s;
    size_t n;
    if (!(c->info->plugin.flags & DOWEL_PURE))
        return dw_check_skip(c, "it does not claim DOWEL_PURE");
    if (!dw_check_settings(c, DW_CHECK_CHOICES, 8, &s, &n))
        return false;
    uint64_t *there = dw_arena_alloc(&c->arena, n * sizeof *there);
    if (!elsewhere(c, s, n, there))
        return false;
    for (size_t k = 0; k < n; k++) {
        if (digest(c, &s[k]) != there[k])
            return dw_check_fail(c,
                                 "options %s: the same calls in another process give another "
                                 "result",
                                 s[k].text);
        dw_instance *i = NULL;
        dw_result r[3];
        int done = 1;
        memset(r, 0, sizeof r);
        for (int t = 0; t < 2 && done == 1; t++) { /* twice on one instance, once on another */
            if (!i && dw_check_open(c, &s[k], NULL, &i) != DW_CHECK_OPEN)
                done = 0;
            if (done == 1)
                done = dw_check_episode(c, i, &s[k], 0, 2, &r[t]);
        }
        if (done == 1)
            done = fresh(c, &s[k], 0, 2, &r[2]);
        dw_instance_destroy(i);
        if (done < 0)
            return false;
        r[2].metrics = r[0].metrics;
        for (int t = 1; done == 1 && t < 3; t++) {
            const char *bad = dw_check_differ(c, &r[0], &r[t], 0);
            if (bad)
                return dw_check_fail(c, "options %s: the same calls %s: %s", s[k].text,
                                     t == 1 ? "again" : "on another instance", bad);
        }
    }
    c->found = NULL;
    dw_check_note(c, "%zu settings", n);
    return true;
}

enum { THREADS = 8, CALLS = 20 };
typedef struct worker {
    dw_check c; /* its own arena */
    dw_instance *i;
    dw_probe *p;
    dw_samples samples;
    const dw_result *want;
    pthread_barrier_t *begin;
    double seconds; /* at least, and at least CALLS calls */
    char *bad;
} worker;

static int work_once(worker *w, dw_result *r)
{
    dw_step_spec how = {.cut = 1};
    if (w->p)
        return dw_check_step(&w->c, &w->i, 1, w->p, &how, r);
    if (w->samples.n)
        return dw_check_score(&w->c, w->i, w->samples.list, w->samples.n, r);
    return 1;
}

static void *work(void *arg)
{
    worker *w = arg;
    pthread_barrier_wait(w->begin);
    double end = dw_now() + w->seconds;
    for (int k = 0; !w->bad && (k < CALLS || dw_now() < end); k++) {
        dw_result r = {0};
        dw_arena_reset(&w->c.arena);
        if (work_once(w, &r) != 1)
            w->bad = w->c.found ? w->c.found : "a call failed";
        else
            w->bad = (char *)dw_check_differ(&w->c, w->want, &r, 0);
    }
    return NULL;
}

/* A copy that outlives the worker's arena. */
static dw_result *kept(dw_check *c, const dw_result *r)
{
    dw_result *copy = dw_arena_alloc(&c->arena, sizeof *copy);
    *copy = *r;
    copy->x = dw_arena_alloc(&c->arena, (r->n + 1) * sizeof *copy->x);
    copy->name = dw_arena_alloc(&c->arena, (r->n + 1) * sizeof *copy->name);
    if (r->n) {
        memcpy(copy->x, r->x, r->n * sizeof *copy->x);
        memcpy(copy->name, r->name, r->n * sizeof *copy->name);
    }
    return copy;
}

/* Every thread with a step of its own, all on one instance. */
static bool together(dw_check *c, const dw_setting *set, uint32_t shape, size_t *done)
{
    worker w[THREADS];
    pthread_t t[THREADS];
    pthread_barrier_t begin;
    dw_instance *i = NULL;
    dw_opened o = dw_check_open(c, set, NULL, &i);
    if (o != DW_CHECK_OPEN)
        return o == DW_CHECK_REFUSED;
    memset(w, 0, sizeof w);
    for (uint32_t k = 0; k < THREADS; k++) {
        dw_result *want = dw_arena_alloc(&c->arena, sizeof *want);
        dw_probe_spec spec = {.shape = shape, .units = 4, .key = 80000 + 100 * k};
        w[k].c = (dw_check){.info = c->info, .seed = c->seed, .now = c->now};
        w[k].i = i;
        w[k].begin = &begin;
        w[k].seconds = set->defaults ? 0.2 : 0.01;
        if (shape && dw_probe_make(c, set, &spec, &w[k].p) != DW_CHECK_OPEN)
            return true;
        if (!shape)
            w[k].samples = dw_check_samples(c, set, spec.key, 8);
        int once = work_once(&w[k], want);
        if (once != 1) {
            c->found = w[k].c.found;
            return once == 0;
        }
        w[k].want = kept(c, want);
    }
    dw_check_now(c, "options %s: %d threads on one instance", set->text, THREADS);
    pthread_barrier_init(&begin, NULL, THREADS);
    for (int k = 0; k < THREADS; k++)
        if (pthread_create(&t[k], NULL, work, &w[k]))
            return dw_check_fail(c, "no thread"); /* the process ends, and the others with it */
    for (int k = 0; k < THREADS; k++)
        pthread_join(t[k], NULL);
    pthread_barrier_destroy(&begin);
    for (int k = 0; k < THREADS; k++)
        if (w[k].bad)
            return dw_check_fail(c, "options %s: with %d threads on one instance, %s", set->text,
                                 THREADS, w[k].bad);
    dw_instance_destroy(i);
    ++*done;
    return true;
}

bool dw_test_reentrant(dw_check *c)
{
    dw_setting *s;
    size_t n, done = 0;
    const dowel_plugin *p = &c->info->plugin;
    if (!(p->flags & DOWEL_REENTRANT))
        return dw_check_skip(c, "it does not claim DOWEL_REENTRANT");
    if (!p->objective && !p->reward)
        return dw_check_skip(c, "its calls are not made by several threads");
    if (!dw_check_settings(c, DW_CHECK_CHOICES, 0, &s, &n))
        return false;
    for (size_t k = 0; k < n; k++) {
        for (uint32_t bit = 1; p->objective && bit <= DOWEL_STEPS; bit <<= 1)
            if ((c->info->objective.feeds_on & bit) && !together(c, &s[k], bit, &done))
                return false;
        if (p->reward && !together(c, &s[k], 0, &done))
            return false;
    }
    c->found = NULL;
    dw_check_note(c, "%d threads, %zu settings", THREADS, done);
    return done > 0 ? true : dw_check_fail(c, "every call was refused");
}

/* ---- cancelled ---- */

bool dw_test_cancelled(dw_check *c)
{
    const dw_setting *s = defaults(c);
    dw_result r = {0};
    dw_instance *i = NULL;
    if (!s || dw_check_open(c, s, NULL, &i) != DW_CHECK_OPEN)
        return false;
    dw_check_now(c, "a call while cancelled() is true");
    dw_plug_cancel(true);
    double at = dw_now();
    dw_check_episode(c, i, s, 0, 1, &r); /* may fail: it was cancelled */
    double took = dw_now() - at;
    dw_plug_cancel(false);
    dw_instance_destroy(i);
    c->found = NULL;
    if (took > 1)
        return dw_check_fail(c, "the calls took %.1f s with cancelled() true, expected less than 1",
                             took);
    return true;
}

/* ---- state ---- */

static bool stateful(dw_check *c)
{
    if (c->info->plugin.save)
        return true;
    dw_check_skip(c, "it keeps no state");
    return false;
}

static bool save(dw_check *c, dw_instance *i, dw_buf *out)
{
    dw_err err = {{0}};
    dw_check_now(c, "save");
    if (dw_instance_save(i, out, &err) == DW_OK)
        return true;
    return dw_check_fail(c, "%s", err.text);
}

static dw_status load(dw_check *c, dw_instance *i, const void *bytes, size_t n, dw_err *err)
{
    return dw_instance_load(i, bytes, n, c->info->plugin.state_version, err);
}

static bool same_bytes(const dw_buf *a, const dw_buf *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->ptr, b->ptr, a->len) == 0);
}

/* An instance that has been through some steps, and its saved state. */
static bool lived(dw_check *c, const dw_setting *set, dw_instance **i, dw_buf *state, bool *refused)
{
    dw_result r = {0};
    *i = NULL;
    dw_opened o = dw_check_open(c, set, NULL, i);
    *refused = o == DW_CHECK_REFUSED;
    if (o != DW_CHECK_OPEN)
        return *refused;
    int done = dw_check_episode(c, *i, set, 0, 3, &r);
    *refused = done == 0;
    if (done != 1)
        return done == 0 && !set->defaults;
    return save(c, *i, state);
}

static bool roundtrip(dw_check *c, const dw_setting *set)
{
    dw_instance *a = NULL, *b = NULL;
    dw_buf state = {0}, later[2] = {{0}, {0}};
    dw_result r[2];
    dw_err err = {{0}};
    bool refused;
    memset(r, 0, sizeof r);
    if (!lived(c, set, &a, &state, &refused))
        return false;
    if (refused)
        return true;
    if (dw_check_open(c, set, NULL, &b) != DW_CHECK_OPEN)
        return false;
    dw_check_now(c, "load of %zu bytes", state.len);
    if (load(c, b, state.ptr, state.len, &err) < 0)
        return dw_check_fail(c, "options %s: what save() wrote is refused: %s", set->text,
                             err.text);
    dw_instance *both[] = {a, b};
    for (int k = 0; k < 2; k++) {
        if (dw_check_episode(c, both[k], set, 3, 3, &r[k]) != 1)
            return false;
        if (!save(c, both[k], &later[k]))
            return false;
        dw_instance_destroy(both[k]);
    }
    const char *bad = dw_check_differ(c, &r[0], &r[1], 0);
    if (bad)
        return dw_check_fail(c, "options %s: continued, then loaded and continued: %s", set->text,
                             bad);
    if (!same_bytes(&later[0], &later[1]))
        return dw_check_fail(c,
                             "options %s: continued, then loaded and continued: save() writes "
                             "other bytes",
                             set->text);
    return true;
}

bool dw_test_state_roundtrip(dw_check *c)
{
    dw_setting *s;
    size_t n;
    const dowel_plugin *p = &c->info->plugin;
    if (!p->save && !(p->flags & DOWEL_PURE))
        return dw_check_fail(c, "neither save() nor DOWEL_PURE: runs that use it cannot be resumed "
                                "exactly");
    if (!stateful(c))
        return true;
    if (!dw_check_settings(c, DW_CHECK_CHOICES, 8, &s, &n))
        return false;
    for (size_t k = 0; k < n; k++)
        if (!roundtrip(c, &s[k]))
            return false;
    c->found = NULL;
    dw_check_note(c, "%zu settings", n);
    return true;
}

bool dw_test_state_bytes(dw_check *c)
{
    const dw_setting *s = defaults(c);
    dw_instance *a = NULL, *b = NULL;
    dw_buf bytes[4] = {{0}};
    bool refused;
    if (!stateful(c))
        return true;
    if (!s || !lived(c, s, &a, &bytes[0], &refused) || !save(c, a, &bytes[1]))
        return false;
    if (!lived(c, s, &b, &bytes[2], &refused))
        return false;
    if (!same_bytes(&bytes[0], &bytes[1]))
        return dw_check_fail(c, "saved twice in a row, it writes different bytes");
    if (!same_bytes(&bytes[0], &bytes[2]))
        return dw_check_fail(c, "two instances that did the same write different bytes; padding or "
                                "an address may be among them");
    dw_check_note(c, "%zu bytes", bytes[0].len);
    return true;
}

/* A state of n bytes that has to be refused. */
static bool refuses(dw_check *c, const dw_setting *s, const void *bytes, size_t n, const char *what)
{
    dw_instance *i = NULL;
    dw_err err = {{0}};
    if (dw_check_open(c, s, NULL, &i) != DW_CHECK_OPEN)
        return false;
    dw_check_now(c, "load of %s", what);
    dw_status st = load(c, i, bytes, n, &err);
    if (st == DW_OK)
        return dw_check_fail(c, "%s is accepted, expected DOWEL_E_STATE", what);
    dw_instance_destroy(i);
    return true;
}

bool dw_test_state_empty(dw_check *c)
{
    const dw_setting *s = defaults(c);
    dw_instance *a = NULL;
    dw_buf state = {0};
    bool refused;
    if (!stateful(c))
        return true;
    if (!s || !lived(c, s, &a, &state, &refused))
        return false;
    if (state.len == 0)
        return dw_check_skip(c, "its state has no bytes");
    return refuses(c, s, "", 0, "a state of 0 bytes");
}

bool dw_test_state_truncated(dw_check *c)
{
    const dw_setting *s = defaults(c);
    dw_instance *a = NULL;
    dw_buf state = {0};
    bool refused;
    if (!stateful(c))
        return true;
    if (!s || !lived(c, s, &a, &state, &refused))
        return false;
    size_t stride = state.len / 256 + 1;
    for (size_t n = state.len ? state.len - 1 : 0; n > 0; n = n > stride ? n - stride : 0) {
        /* a copy of its own size, so that reading on is a fault under ASan */
        void *cut = memcpy(dw_arena_alloc(&c->arena, n), state.ptr, n);
        if (!refuses(
                c, s, cut, n,
                dw_arena_printf(&c->arena, "a state cut off after %zu of %zu bytes", n, state.len)))
            return false;
    }
    char *longer = dw_arena_alloc(&c->arena, state.len + 1);
    if (state.len)
        memcpy(longer, state.ptr, state.len);
    return refuses(c, s, longer, state.len + 1, "a state with one byte more");
}

/* Random bytes may happen to be a state; then it has to be one that can be used. */
static bool use_random(dw_check *c, const dw_setting *s, const void *bytes, size_t n, uint64_t nth,
                       size_t *accepted)
{
    dw_instance *i = NULL;
    dw_err err = {{0}};
    dw_result r = {0};
    dw_buf again = {0};
    if (dw_check_open(c, s, NULL, &i) != DW_CHECK_OPEN)
        return false;
    dw_check_now(c, "load of random bytes, number %llu", (unsigned long long)nth);
    if (load(c, i, bytes, n, &err) == DW_OK) {
        ++*accepted;
        if (dw_check_episode(c, i, s, 0, 2, &r) < 0)
            return dw_check_fail(c,
                                 "options %s: random bytes (number %llu) are accepted as a state, "
                                 "and then: %s",
                                 s->text, (unsigned long long)nth, c->found);
        if (!save(c, i, &again))
            return false;
    }
    dw_buf_finish(&again);
    dw_instance_destroy(i);
    return true;
}

/* Number `nth` of the states to try: one byte all over (0xff: NaN in every double), noise of this
 * length and of others, and a real one with a bit changed. */
static unsigned char *random_state(dw_check *c, const dw_buf *state, uint64_t nth, size_t *n)
{
    static const unsigned char fill[] = {0xff, 0x7f, 0x80, 0x00};
    *n = nth % 2 ? (size_t)dw_check_below(c, 90000, nth, 2 * state->len + 16) : state->len;
    unsigned char *bytes = dw_arena_alloc(&c->arena, *n + 1);
    for (size_t j = 0; j < *n; j++)
        bytes[j] = nth < 8 ? fill[nth / 2] : (unsigned char)dw_check_below(c, 91000 + nth, j, 256);
    if (nth >= 8 && nth % 4 == 2 && *n > 0) {
        memcpy(bytes, state->ptr, *n);
        bytes[dw_check_below(c, 92000, nth, *n)] ^= (unsigned char)(1u << nth / 4 % 8);
    }
    return bytes;
}

bool dw_test_state_random(dw_check *c)
{
    dw_setting *s;
    size_t n, accepted = 0;
    enum { TRIES = 40 };
    if (!stateful(c))
        return true;
    if (!dw_check_settings(c, DW_CHECK_CHOICES, 4, &s, &n))
        return false;
    for (size_t k = 0; k < n; k++) {
        dw_instance *a = NULL;
        dw_buf state = {0};
        bool refused;
        if (!lived(c, &s[k], &a, &state, &refused))
            return false;
        dw_instance_destroy(a);
        for (uint64_t t = 0; !refused && t < TRIES; t++) {
            size_t bytes;
            unsigned char *random = random_state(c, &state, t, &bytes);
            if (!use_random(c, &s[k], random, bytes, t, &accepted))
                return false;
        }
        dw_buf_finish(&state);
    }
    c->found = NULL;
    dw_check_note(c, "%zu settings, %d tries each, %zu of them could be used", n, TRIES, accepted);
    return true;
}
