/* Scores sequences under the reference and remembers the answers by the hash of their tokens. */
#include "train/reference.h"

#include <string.h>

#include "base/alloc.h"
#include "train/observe.h"
#include "train/progress.h"

enum { KEY_BYTES = 24 };

typedef struct entry {
    char key[KEY_BYTES]; /* first bytes of the SHA-256, in hex */
    double *logp;
    uint32_t n;
} entry;

struct dw_reference {
    dw_job *job;
    dw_engine *trainer;
    bool pristine;
    dw_model *frozen; /* full training, once the weights moved */
    dw_engine *frozen_engine;
    dw_arena arena; /* keys and values */
    entry **item;
    size_t n, cap;
    dw_map index;
};

dw_reference *dw_reference_create(dw_job *job, dw_engine *e, bool pristine)
{
    dw_reference *r = dw_zalloc(1, sizeof *r);
    r->job = job;
    r->trainer = e;
    r->pristine = pristine;
    return r;
}

void dw_reference_destroy(dw_reference *r)
{
    if (!r)
        return;
    dw_engine_destroy(r->frozen_engine);
    dw_model_free(r->frozen);
    dw_map_finish(&r->index);
    dw_free(r->item);
    dw_arena_finish(&r->arena);
    dw_free(r);
}

void dw_reference_moved(dw_reference *r)
{
    if (r)
        r->pristine = false;
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

static dw_status open_frozen(dw_reference *r, dw_err *err)
{
    if (r->frozen_engine)
        return DW_OK;
    const dw_plan *p = r->job->plan;
    dw_model_options o = {.trainable = false, .seed = p->seed, .no_tokenizer = true};
    dw_status st = p->model_init ? dw_model_init(r->job->x, p->model_path, &o, &r->frozen, err)
                                 : dw_model_open(r->job->x, p->model_path, &o, &r->frozen, err);
    if (st >= 0)
        st = dw_engine_create(r->frozen, &r->frozen_engine, err);
    if (st < 0)
        dw_err_prefix(err, "opening the reference (the weights the run started from)");
    return st;
}

static dw_status pick_engine(dw_reference *r, dw_engine **e, unsigned *flags, dw_err *err)
{
    *e = r->trainer;
    *flags = 0;
    if (dw_model_has_adapter(r->job->model)) {
        *flags = DW_PASS_NO_ADAPTER;
        return DW_OK;
    }
    if (r->pristine)
        return DW_OK;
    DW_TRY(open_frozen(r, err));
    *e = r->frozen_engine;
    return DW_OK;
}

/* The sequences that are not in the cache, so that they can be cut like any others. */
typedef struct todo {
    dw_packable *pack;
    uint32_t *seq;
    size_t n;
} todo;

static todo look_up(dw_reference *r, dw_set *s, char (*key)[KEY_BYTES])
{
    todo t = {.pack = dw_arena_alloc(s->arena, (s->n_seq + 1) * sizeof *t.pack),
              .seq = dw_arena_alloc(s->arena, (s->n_seq + 1) * sizeof *t.seq)};
    for (size_t i = 0; i < s->n_seq; i++) {
        key_of(&s->pack[i], s->temperature, key[i]);
        const entry *e = find(r, key[i], s->pack[i].n_completion);
        if (e) {
            memcpy(s->ref_logp + s->seq[i].tok, e->logp, e->n * sizeof *e->logp);
            continue;
        }
        t.seq[t.n] = (uint32_t)i;
        t.pack[t.n] = s->pack[i];
        t.pack[t.n].unit = (uint32_t)t.n;
        t.n++;
    }
    return t;
}

static dw_status score(dw_reference *r, dw_set *s, const todo *t, dw_err *err)
{
    dw_engine *e;
    unsigned flags;
    DW_TRY(pick_engine(r, &e, &flags, err));
    dw_arena call = {0};
    dw_status st = DW_OK;
    for (size_t i = 0; i < t->n && st >= 0;) {
        size_t end = dw_pack_cut(t->pack, t->n, i, r->job->plan->micro_tokens);
        dw_pack p;
        dw_observed seen;
        dw_pack_build(&call, t->pack + i, end - i, &p);
        st = dw_observe(e, &call, &p, s->temperature, DOWEL_BIT(DOWEL_LOGP), flags,
                        (dw_head_wants){0}, &seen, err);
        for (size_t k = i; k < end && st >= 0; k++)
            memcpy(s->ref_logp + s->seq[t->seq[k]].tok, seen.logp + p.start[k - i],
                   t->pack[k].n_completion * sizeof(double));
        dw_arena_reset(&call);
        i = end;
    }
    dw_arena_finish(&call);
    return st;
}

dw_status dw_reference_fill(dw_reference *r, dw_set *s, bool keep, dw_err *err)
{
    s->ref_logp = dw_arena_alloc(s->arena, (s->n_tok + 1) * sizeof(double));
    char(*key)[KEY_BYTES] = dw_arena_alloc(s->arena, (s->n_seq + 1) * sizeof *key);
    todo t = look_up(r, s, key);
    if (t.n == 0)
        return DW_OK;
    dw_status st = score(r, s, &t, err);
    if (st < 0) {
        dw_err_prefix(err, "scoring under the reference");
        return st;
    }
    for (size_t i = 0; keep && i < t.n; i++) {
        uint32_t k = t.seq[i];
        keep_entry(r, key[k], s->ref_logp + s->seq[k].tok, s->pack[k].n_completion);
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
            st = dw_reference_fill(r, &s, true, err);
        dw_arena_reset(&a);
    }
    if (st >= 0 && t->eval && t->plan->eval->data.spec.type != DW_PROMPTS) {
        dw_set s;
        st = dw_set_from_eval(&s, t, &a, err);
        if (st >= 0)
            st = dw_reference_fill(r, &s, true, err);
    }
    dw_arena_finish(&a);
    return st;
}

dw_status dw_reference_prepare(dw_reference *r, dw_err *err)
{
    for (size_t i = 0; i < r->job->n_task; i++) {
        const dw_live_task *t = &r->job->task[i];
        if (t->plan->rollout || !(t->columns & DOWEL_BIT(DOWEL_REF_LOGP)))
            continue;
        DW_TRY(prepare_task(r, i, err));
    }
    return DW_OK;
}

/* ---- the file: magic, count, entries {key, n, logp[n]}, SHA-256 of all before it ---- */

static const char magic[8] = "dwref01\n";

dw_status dw_reference_save(const dw_reference *r, const char *path, dw_err *err)
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

dw_status dw_reference_load(dw_reference *r, const char *path, dw_err *err)
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
