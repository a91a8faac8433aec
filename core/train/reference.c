/* Scores sequences under the reference and remembers the answers by the hash of their tokens. */
#include "train/reference.h"

#include <string.h>

#include "base/alloc.h"
#include "train/progress.h"
#include "train/refresh.h"
#include "train/sweep.h"

enum { KEY_BYTES = 24 };

typedef struct entry {
    char key[KEY_BYTES]; /* first bytes of the SHA-256, in hex */
    double *logp;
    uint32_t n;
} entry;

struct dw_reference {
    dw_job *job;
    dw_live_model *of; /* the model itself, or the one whose start it is */
    bool still;        /* `of` does not train: it is the reference */
    bool pristine;
    const dw_plan_update *update; /* NULL: none */
    dw_refresh refresh;
    const char *cache; /* name of its file; NULL: not kept */
    dw_model *frozen;  /* full training, once the weights moved */
    dw_engine *beside; /* its engine; with an adapter a second one of the model */
    dw_generator *gen; /* likewise */
    dw_arena arena;    /* keys and values */
    entry **item;
    size_t n, cap;
    dw_map index;
};

/* ---- who needs one ---- */

static bool has_adapter(const dw_reference *r)
{
    return dw_model_has_adapter(r->of->m);
}

static dw_status open_frozen(dw_reference *r, dw_err *err)
{
    if (r->frozen)
        return DW_OK;
    dw_status st = dw_models_open_start(r->job, r->of, r->update != NULL, &r->frozen, err);
    if (st >= 0)
        st = dw_engine_create(r->frozen, &r->beside, err);
    if (st < 0)
        dw_err_prefix(err, "opening the reference (the weights the run started from)");
    return st;
}

static dw_reference *find_same(const dw_job *job, const dw_live_model *of)
{
    for (size_t i = 0; i < job->n_reference; i++)
        if (job->reference[i]->of == of && !job->reference[i]->update)
            return job->reference[i];
    return NULL;
}

static dw_status make(dw_job *job, dw_live_model *of, const dw_plan_update *u, bool pristine,
                      dw_reference **out, dw_err *err)
{
    bool follows = u->kind != DW_UPDATE_NONE;
    *out = follows ? NULL : find_same(job, of);
    if (*out)
        return DW_OK;
    dw_reference *r = dw_zalloc(1, sizeof *r);
    job->reference[job->n_reference++] = r;
    *out = r;
    r->job = job;
    r->of = of;
    r->still = !of->plan->trains;
    r->pristine = pristine;
    if (!r->still && !follows)
        r->cache = of->plan == job->plan->model
                       ? "reference.cache"
                       : dw_arena_printf(&job->arena, "reference-%s.cache", of->plan->name);
    if (!follows)
        return DW_OK;
    r->update = u;
    DW_TRY(open_frozen(r, err));
    return dw_refresh_init(&r->refresh, u, dw_model_base(r->frozen), err);
}

/* It samples answers, or an implicit reward is measured from it. */
static bool asked_otherwise(const dw_live_task *t)
{
    for (size_t k = 0; k < t->n_reward; k++)
        if (t->plan->reward[k].implicit)
            return true;
    return (t->extras & (DOWEL_WITH_REFERENCE | DOWEL_WITH_MIXTURE)) != 0;
}

static dw_status arm_task(dw_live_task *t, bool pristine, dw_err *err)
{
    const dw_plan_task *p = t->plan;
    dw_job *job = t->job;
    bool diverges = (t->columns & DOWEL_BIT(DOWEL_DIVERGENCE)) != 0;
    bool samples = asked_otherwise(t);
    if ((t->columns & DOWEL_BIT(DOWEL_REF_LOGP)) || samples ||
        (diverges && t->against == DOWEL_REFERENCE))
        DW_TRY(make(job, p->reference >= 0 ? &job->models[p->reference] : t->model,
                    &p->reference_update, pristine, &t->reference, err));
    if ((t->columns & DOWEL_BIT(DOWEL_TEACHER_LOGP)) || (diverges && t->against == DOWEL_TEACHER))
        DW_TRY(make(job, p->teacher >= 0 ? &job->models[p->teacher] : t->model, &p->teacher_update,
                    pristine, &t->teacher, err));
    return DW_OK;
}

dw_status dw_references_arm(dw_job *job, bool pristine, dw_err *err)
{
    job->reference = dw_arena_alloc(&job->arena, (2 * job->n_task + 1) * sizeof *job->reference);
    for (size_t i = 0; i < job->n_task; i++)
        DW_TRY(arm_task(&job->task[i], pristine, err));
    return DW_OK;
}

void dw_references_close(dw_job *job)
{
    for (size_t i = 0; i < job->n_reference; i++) {
        dw_reference *r = job->reference[i];
        dw_refresh_finish(&r->refresh);
        dw_generator_destroy(r->gen);
        dw_engine_destroy(r->beside);
        dw_model_free(r->frozen);
        dw_map_finish(&r->index);
        dw_free(r->item);
        dw_arena_finish(&r->arena);
        dw_free(r);
    }
    job->n_reference = 0;
}

size_t dw_reference_bytes(const dw_live_task *t)
{
    uint64_t asks =
        DOWEL_BIT(DOWEL_REF_LOGP) | DOWEL_BIT(DOWEL_TEACHER_LOGP) | DOWEL_BIT(DOWEL_DIVERGENCE);
    const dw_plan_task *p = t->plan;
    bool named = p->reference >= 0 || p->teacher >= 0;
    bool follows =
        p->reference_update.kind != DW_UPDATE_NONE || p->teacher_update.kind != DW_UPDATE_NONE;
    bool live = p->rollout || follows || (t->columns & DOWEL_BIT(DOWEL_DIVERGENCE));
    if ((!(t->columns & asks) && !asked_otherwise(t)) || named || !live ||
        dw_model_has_adapter(t->model->m))
        return 0;
    return dw_model_base(t->model->m)->n * sizeof(dw_real);
}

/* ---- following ---- */

void dw_references_moved(dw_job *job)
{
    for (size_t i = 0; i < job->n_reference; i++)
        job->reference[i]->pristine = false;
}

static void forget(dw_reference *r)
{
    dw_map_finish(&r->index);
    dw_arena_reset(&r->arena);
    r->n = 0;
}

dw_refresh *dw_reference_refresh(dw_reference *r, const dw_params **copy)
{
    if (!r->update)
        return NULL;
    *copy = dw_model_base(r->frozen);
    return &r->refresh;
}

void dw_reference_restored(dw_reference *r)
{
    if (r->frozen)
        dw_model_changed(r->frozen);
    forget(r);
}

void dw_references_stepped(dw_job *job)
{
    dw_references_moved(job);
    for (size_t i = 0; i < job->n_reference; i++) {
        dw_reference *r = job->reference[i];
        if (!r->update ||
            !dw_refresh_step(&r->refresh, dw_model_trained(r->of->m), dw_model_base(r->frozen)))
            continue;
        dw_model_changed(r->frozen);
        forget(r);
    }
}

/* ---- the cache ---- */

static void key_of(const dw_packable *p, double temperature, char out[KEY_BYTES])
{
    char hex[65];
    dw_sha256 *h = dw_sha256_create();
    dw_sha256_add(h, &temperature, sizeof temperature);
    dw_sha256_add(h, &p->n_prompt, sizeof p->n_prompt);
    dw_sha256_add(h, p->prompt, p->n_prompt * sizeof *p->prompt);
    dw_sha256_add(h, p->completion, p->n_completion * sizeof *p->completion);
    dw_sha256_hex(h, hex);
    memcpy(out, hex, KEY_BYTES);
}

static const entry *find(const dw_reference *r, const char *key, uint32_t n)
{
    int64_t at;
    if (!dw_map_get(&r->index, (dw_text){key, KEY_BYTES}, &at) || r->item[at]->n != n)
        return NULL;
    return r->item[at];
}

static void keep_entry(dw_reference *r, const char *key, const double *logp, uint32_t n)
{
    if (dw_map_get(&r->index, (dw_text){key, KEY_BYTES}, NULL))
        return;
    entry *e = dw_arena_alloc(&r->arena, sizeof *e);
    memcpy(e->key, key, KEY_BYTES);
    e->n = n;
    e->logp = dw_arena_alloc(&r->arena, (n + 1) * sizeof *e->logp);
    memcpy(e->logp, logp, n * sizeof *logp);
    DW_GROW(r->item, r->n, r->cap);
    r->item[r->n] = e;
    dw_map_put(&r->index, (dw_text){e->key, KEY_BYTES}, (int64_t)r->n);
    r->n++;
}

/* ---- scoring ---- */

dw_status dw_reference_engine(dw_reference *r, dw_engine **e, unsigned *flags, dw_err *err)
{
    *flags = 0;
    if (r->still) {
        *e = r->of->e;
        return DW_OK;
    }
    if (!has_adapter(r)) {
        DW_TRY(open_frozen(r, err));
    } else if (!r->beside) {
        DW_TRY(dw_engine_create(r->of->m, &r->beside, err));
    }
    *flags = has_adapter(r) ? DW_PASS_NO_ADAPTER : 0;
    *e = r->beside;
    return DW_OK;
}

dw_status dw_reference_generator(dw_reference *r, dw_generator **gen, bool *no_adapter, dw_err *err)
{
    *no_adapter = !r->still && has_adapter(r);
    if (!r->still && !has_adapter(r))
        DW_TRY(open_frozen(r, err));
    if (!r->gen)
        DW_TRY(dw_generator_create(r->frozen ? r->frozen : r->of->m, &r->gen, err));
    *gen = r->gen;
    return DW_OK;
}

/* The trainer's own engine will do while nothing has moved, or its adapter can be left out. */
static dw_status pick_engine(dw_reference *r, dw_engine **e, unsigned *flags, dw_err *err)
{
    bool own = has_adapter(r) || (r->pristine && !r->update);
    if (r->still || !own)
        return dw_reference_engine(r, e, flags, err);
    *flags = has_adapter(r) ? DW_PASS_NO_ADAPTER : 0;
    *e = r->of->e;
    return DW_OK;
}

/* The sequences that are not in the cache, so that they can be cut like any others. */
typedef struct todo {
    dw_packable *pack;
    uint32_t *seq;
    size_t n;
} todo;

static todo look_up(dw_reference *r, const dw_set *s, const dw_packable *pack,
                    char (*key)[KEY_BYTES], double *logp)
{
    todo t = {.pack = dw_arena_alloc(s->arena, (s->n_seq + 1) * sizeof *t.pack),
              .seq = dw_arena_alloc(s->arena, (s->n_seq + 1) * sizeof *t.seq)};
    for (size_t i = 0; i < s->n_seq; i++) {
        key_of(&pack[i], s->temperature, key[i]);
        const entry *e = find(r, key[i], pack[i].n_completion);
        if (e) {
            memcpy(logp + s->seq[i].tok, e->logp, e->n * sizeof *e->logp);
            continue;
        }
        t.seq[t.n] = (uint32_t)i;
        t.pack[t.n] = pack[i];
        t.pack[t.n].unit = (uint32_t)t.n;
        t.n++;
    }
    return t;
}

static dw_status score(dw_reference *r, const dw_set *s, const todo *t, double *logp, dw_err *err)
{
    dw_engine *e;
    unsigned flags;
    DW_TRY(pick_engine(r, &e, &flags, err));
    const dw_view v = dw_view_logp(e, flags, s->temperature);
    dw_observed seen;
    DW_TRY(dw_sweep(&v, t->pack, t->n, r->job->plan->micro_tokens, NULL, s->arena, &seen, err));
    const double *from = seen.x[DW_SEEN_LOGP];
    for (size_t k = 0; k < t->n; from += t->pack[k++].n_completion)
        memcpy(logp + s->seq[t->seq[k]].tok, from, t->pack[k].n_completion * sizeof(double));
    return DW_OK;
}

dw_status dw_reference_fill(dw_reference *r, const dw_set *s, const dw_packable *pack, bool keep,
                            double *logp, dw_err *err)
{
    char(*key)[KEY_BYTES] = dw_arena_alloc(s->arena, (s->n_seq + 1) * sizeof *key);
    todo t = look_up(r, s, pack, key, logp);
    if (t.n == 0)
        return DW_OK;
    dw_status st = score(r, s, &t, logp, err);
    if (st < 0) {
        dw_err_prefix(err, "scoring under the reference (model '%s')", r->of->plan->name);
        return st;
    }
    for (size_t i = 0; keep && i < t.n; i++) {
        uint32_t k = t.seq[i];
        keep_entry(r, key[k], logp + s->seq[k].tok, pack[k].n_completion);
    }
    return DW_OK;
}

/* ---- before the first step ---- */

/* How many rows of its endless order a task will take at most. */
static uint64_t rows_needed(const dw_job *job, size_t task)
{
    uint64_t steps = 0;
    for (uint64_t s = 0; s < job->plan->steps; s++)
        steps += dw_task_weight(job, task, s) > 0;
    uint64_t n = steps * job->task[task].plan->rows, len = dw_dataset_len(job->task[task].data);
    return n < len ? n : len; /* the first epoch holds every row once */
}

/* Scores a set for the cache, as the reference and as the teacher that r is to its task. */
static dw_status remember(dw_reference *r, const dw_set *s, dw_err *err)
{
    const dw_live_task *t = s->task;
    double *scratch = dw_arena_alloc(s->arena, (s->n_tok + 1) * sizeof *scratch);
    if (t->reference == r && (t->columns & DOWEL_BIT(DOWEL_REF_LOGP)))
        DW_TRY(dw_reference_fill(r, s, s->pack, true, scratch, err));
    if (t->teacher == r && (t->columns & DOWEL_BIT(DOWEL_TEACHER_LOGP)))
        DW_TRY(dw_reference_fill(r, s, dw_set_teacher_packs(s), true, scratch, err));
    return DW_OK;
}

static dw_status prepare_task(dw_reference *r, size_t i, dw_err *err)
{
    enum { CHUNK = 64 };
    dw_job *job = r->job;
    dw_live_task *t = &job->task[i];
    uint64_t n = rows_needed(job, i);
    dw_arena a = {0};
    dw_status st = DW_OK;
    for (uint64_t at = 0; at < n && st >= 0; at += CHUNK) {
        dw_set s;
        size_t some = (size_t)(n - at < CHUNK ? n - at : CHUNK);
        if (job->progress)
            dw_progress_phase(job->progress, "reference", (size_t)at, (size_t)n);
        st = dw_set_from_rows(&s, t, &a, at, some, 0, err);
        if (st >= 0)
            st = remember(r, &s, err);
        dw_arena_reset(&a);
    }
    if (st >= 0 && t->eval && t->plan->eval->data.spec.type != DW_PROMPTS) {
        dw_set s;
        st = dw_set_from_eval(&s, t, &a, err);
        if (st >= 0)
            st = remember(r, &s, err);
    }
    dw_arena_finish(&a);
    return st;
}

static dw_status prepare(dw_reference *r, dw_err *err)
{
    for (size_t i = 0; i < r->job->n_task; i++) {
        const dw_live_task *t = &r->job->task[i];
        bool scored = t->reference == r && (t->columns & DOWEL_BIT(DOWEL_REF_LOGP));
        scored |= t->teacher == r && (t->columns & DOWEL_BIT(DOWEL_TEACHER_LOGP));
        if (!t->plan->rollout && scored)
            DW_TRY(prepare_task(r, i, err));
    }
    return DW_OK;
}

/* ---- the file: magic, count, entries {key, n, logp[n]}, SHA-256 of all before it ---- */

static const char magic[8] = "dwref01\n";

static dw_status save_cache(const dw_reference *r, const char *path, dw_err *err)
{
    dw_buf b = {0};
    uint64_t n = r->n;
    if (n == 0)
        return DW_OK; /* sampled answers are not kept */
    dw_buf_add(&b, magic, sizeof magic);
    dw_buf_add(&b, &n, sizeof n);
    for (size_t i = 0; i < r->n; i++) {
        dw_buf_add(&b, r->item[i]->key, KEY_BYTES);
        dw_buf_add(&b, &r->item[i]->n, sizeof r->item[i]->n);
        dw_buf_add(&b, r->item[i]->logp, r->item[i]->n * sizeof(double));
    }
    char hex[65];
    dw_sha256_of(b.ptr, b.len, hex);
    dw_buf_add(&b, hex, 64);
    dw_status st = dw_file_write(path, b.ptr, b.len, err);
    dw_buf_finish(&b);
    return st;
}

static bool parse(dw_reference *r, const dw_buf *b)
{
    size_t at = sizeof magic + sizeof(uint64_t);
    if (b->len < at + 64 || memcmp(b->ptr, magic, sizeof magic) != 0)
        return false;
    char hex[65];
    size_t end = b->len - 64;
    dw_sha256_of(b->ptr, end, hex);
    if (memcmp(hex, b->ptr + end, 64) != 0)
        return false;
    dw_arena a = {0};
    bool ok = true;
    while (at < end && ok) {
        uint32_t n = 0;
        ok = end - at >= KEY_BYTES + sizeof n;
        if (!ok)
            break;
        const char *key = b->ptr + at;
        memcpy(&n, key + KEY_BYTES, sizeof n);
        at += KEY_BYTES + sizeof n;
        ok = (end - at) / sizeof(double) >= n;
        if (!ok)
            break;
        double *logp = dw_arena_alloc(&a, (n + (size_t)1) * sizeof *logp); /* aligned copy */
        memcpy(logp, b->ptr + at, n * sizeof *logp);
        keep_entry(r, key, logp, n);
        at += n * sizeof *logp;
    }
    dw_arena_finish(&a);
    return ok;
}

static dw_status load_cache(dw_reference *r, const char *path, dw_err *err)
{
    if (!dw_file_exists(path))
        return DW_OK;
    dw_buf b = {0};
    dw_status st = dw_file_read(path, SIZE_MAX / 2, &b, err);
    if (st >= 0 && !parse(r, &b))
        st = dw_fail(err, DW_E_INPUT,
                     "%s is damaged (its checksum does not match); delete it and the reference is "
                     "scored again",
                     path);
    dw_buf_finish(&b);
    return st;
}

dw_status dw_references_save_caches(const dw_job *job, const char *run, dw_err *err)
{
    dw_arena a = {0};
    dw_status st = DW_OK;
    for (size_t i = 0; i < job->n_reference && st >= 0; i++)
        if (job->reference[i]->cache)
            st =
                save_cache(job->reference[i], dw_path_join(&a, run, job->reference[i]->cache), err);
    dw_arena_finish(&a);
    return st;
}

/* In full training the model of the start is about to be lost: score the rows while it is here. */
dw_status dw_references_prepare(dw_job *job, const char *run, dw_err *err)
{
    dw_arena a = {0};
    dw_status st = DW_OK;
    for (size_t i = 0; i < job->n_reference && st >= 0; i++) {
        dw_reference *r = job->reference[i];
        if (!r->cache)
            continue;
        st = load_cache(r, dw_path_join(&a, run, r->cache), err);
        if (st >= 0 && !has_adapter(r) && job->step == 0)
            st = prepare(r, err);
    }
    if (st >= 0 && job->step == 0)
        st = dw_references_save_caches(job, run, err);
    dw_arena_finish(&a);
    return st;
}
