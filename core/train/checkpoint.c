/* Saves and restores everything a run needs to go on bit for bit. */
#include "train/checkpoint.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "train/gather.h"
#include "train/held.h"
#include "train/mix.h"
#include "train/reference.h"

#define STATE "state.json"
#define LIST  "checkpoint.json"

/* ---- tensors ---- */

static dw_tensor_out tensor(dw_arena *a, const char *prefix, const dw_weight *w,
                            const dw_real *values)
{
    return (dw_tensor_out){.name = dw_arena_printf(a, "%s%s", prefix, w->name),
                           .dtype = sizeof(dw_real) == 8 ? DW_DT_F64 : DW_DT_F32,
                           .n_dim = 2,
                           .dim = {w->rows, w->cols},
                           .values = values + w->offset};
}

static dw_status write_tensors(dw_arena *a, const dw_params *p, const char *dir, const char *file,
                               const char *const *prefix, dw_real *const *arena, size_t n_arena,
                               dw_err *err)
{
    dw_tensor_out *t = dw_arena_alloc(a, (p->n_weight * n_arena + 1) * sizeof *t);
    size_t n = 0;
    for (size_t k = 0; k < n_arena; k++)
        for (size_t i = 0; arena[k] && i < p->n_weight; i++)
            t[n++] = tensor(a, prefix[k], &p->weight[i], arena[k]);
    if (n == 0)
        return DW_OK;
    return dw_safetensors_write(dw_path_join(a, dir, file), t, n, NULL, 0, err);
}

static dw_status read_tensor(const dw_checkpoint *c, const char *file, const char *name,
                             const dw_weight *w, dw_real *to, dw_err *err)
{
    const dw_tensor_entry *e = dw_checkpoint_find(c, name);
    if (!e)
        return dw_fail(err, DW_E_INPUT, "%s: tensor %s is missing", file, name);
    if (e->n != (uint64_t)w->rows * w->cols)
        return dw_fail(err, DW_E_INPUT,
                       "%s: tensor %s has %" PRIu64 " elements, the model's has %" PRIu64, file,
                       name, e->n, (uint64_t)w->rows * w->cols);
    return dw_tensor_read(e, to + w->offset, err);
}

static dw_status read_tensors(dw_arena *a, const dw_params *p, const char *dir, const char *file,
                              const char *const *prefix, dw_real *const *arena, size_t n_arena,
                              dw_err *err)
{
    const char *path = dw_path_join(a, dir, file);
    dw_checkpoint *c = NULL;
    DW_TRY(dw_checkpoint_open_file(path, &c, err));
    dw_status st = DW_OK;
    for (size_t k = 0; k < n_arena; k++)
        for (size_t i = 0; arena[k] && i < p->n_weight && st >= 0; i++)
            st = read_tensor(c, path, dw_arena_printf(a, "%s%s", prefix[k], p->weight[i].name),
                             &p->weight[i], arena[k], err);
    dw_checkpoint_close(c);
    return st;
}

static const char *const plain_prefix[] = {""};
static const char *const moment_prefix[] = {"m.", "v."};
static const char *const copy_prefix[] = {"", "ema."};

/* "trained.safetensors" of the policy, "trained-NAME.safetensors" of another model. */
static const char *file_of(dw_arena *a, const dw_job *job, const dw_live_model *m, const char *what)
{
    bool policy = m == job->models;
    return dw_arena_printf(a, "%s%s%s.safetensors", what, policy ? "" : "-",
                           policy ? "" : m->plan->name);
}

static dw_status write_models(dw_arena *a, const dw_job *job, const char *dir, dw_err *err)
{
    for (size_t i = 0; i < job->n_models; i++) {
        const dw_live_model *m = &job->models[i];
        const dw_optim *o = &m->optim;
        if (!m->armed)
            continue;
        DW_TRY(write_tensors(a, o->p, dir, file_of(a, job, m, "trained"), plain_prefix,
                             (dw_real *const[]){o->p->w}, 1, err));
        DW_TRY(write_tensors(a, o->p, dir, file_of(a, job, m, "optimizer"), moment_prefix,
                             (dw_real *const[]){o->m, o->v}, 2, err));
    }
    return DW_OK;
}

static dw_status read_models(dw_arena *a, dw_job *job, const char *dir, dw_err *err)
{
    for (size_t i = 0; i < job->n_models; i++) {
        dw_live_model *m = &job->models[i];
        const dw_optim *o = &m->optim;
        if (!m->armed)
            continue;
        DW_TRY(read_tensors(a, o->p, dir, file_of(a, job, m, "trained"), plain_prefix,
                            (dw_real *const[]){o->p->w}, 1, err));
        if (o->m || o->v)
            DW_TRY(read_tensors(a, o->p, dir, file_of(a, job, m, "optimizer"), moment_prefix,
                                (dw_real *const[]){o->m, o->v}, 2, err));
        dw_model_changed(m->m);
    }
    return DW_OK;
}

static dw_status move_copies(dw_arena *a, const dw_job *job, const char *dir, bool save,
                             dw_err *err)
{
    for (size_t i = 0; i < job->n_reference; i++) {
        const dw_params *copy = NULL;
        const dw_refresh *f = dw_reference_refresh(job->reference[i], &copy);
        if (!f)
            continue;
        const char *file = dw_arena_printf(a, "follows-%zu.safetensors", i);
        dw_real *const arena[] = {copy->w, f->ema};
        if (save) {
            DW_TRY(write_tensors(a, copy, dir, file, copy_prefix, arena, 2, err));
        } else {
            DW_TRY(read_tensors(a, copy, dir, file, copy_prefix, arena, 2, err));
            dw_reference_restored(job->reference[i]);
        }
    }
    return DW_OK;
}

/* ---- plugin states ---- */

typedef struct states {
    const char *dir;
    dw_arena *a;
    dw_buf *json; /* saving: the list for state.json */
    const dw_json *list;
    size_t n;
    dw_status st;
    dw_err *err;
} states;

static void save_state(void *ctx, dw_instance *i, const char *address)
{
    states *s = ctx;
    dw_buf blob = {0};
    if (s->st < 0)
        return;
    s->st = dw_instance_save(i, &blob, s->err);
    char *file = dw_arena_printf(s->a, "plugin-%zu.state", s->n);
    if (s->st >= 0)
        s->st = dw_file_write(dw_path_join(s->a, s->dir, file), blob.ptr ? blob.ptr : "", blob.len,
                              s->err);
    dw_buf_adds(s->json, s->n++ ? "," : "");
    dw_buf_adds(s->json, "{\"instance\":");
    dw_json_put_cstr(s->json, address);
    dw_buf_printf(s->json, ",\"file\":\"%s\",\"state_version\":%u}", file,
                  dw_instance_info(i)->plugin.state_version);
    dw_buf_finish(&blob);
}

static void load_state(void *ctx, dw_instance *i, const char *address)
{
    states *s = ctx;
    if (s->st < 0)
        return;
    const char *name = NULL, *file = NULL;
    int64_t version = 0;
    char at[32];
    snprintf(at, sizeof at, "%zu", s->n++);
    const dw_json *v = dw_json_path(s->list, at);
    dw_buf blob = {0};
    s->st = dw_json_get_cstr(v, "instance", "", &name, s->err);
    if (s->st >= 0)
        s->st = dw_json_get_cstr(v, "file", "", &file, s->err);
    if (s->st >= 0)
        s->st = dw_json_get_int(v, "state_version", 0, 0, UINT32_MAX, &version, s->err);
    if (s->st >= 0 && strcmp(name, address) != 0)
        s->st = dw_fail(s->err, DW_E_INPUT, "plugin state %s belongs to '%s', expected '%s'", at,
                        name, address);
    if (s->st >= 0)
        s->st = dw_file_read(dw_path_join(s->a, s->dir, file), SIZE_MAX / 2, &blob, s->err);
    if (s->st >= 0)
        s->st = dw_instance_load(i, blob.ptr ? blob.ptr : "", blob.len, (uint32_t)version, s->err);
    dw_buf_finish(&blob);
}

/* ---- state.json ---- */

static void put_tasks(const dw_job *job, dw_buf *b)
{
    for (size_t i = 0; i < job->n_task; i++) {
        const dw_live_task *t = &job->task[i];
        dw_buf_adds(b, i ? "," : "");
        dw_json_put_cstr(b, t->plan->name);
        const dw_held *h = t->held && t->held->live ? t->held : NULL;
        dw_buf_printf(b,
                      ":{\"cursor\":%" PRIu64 ",\"rollouts\":%" PRIu64 ",\"held\":%s,\"held_at\":%u"
                      ",\"held_rows\":%" PRIu64 ",\"best\":",
                      t->cursor, t->rollouts, h ? "true" : "false", h ? h->at : 0, h ? h->rows : 0);
        dw_json_put_num(b, t->best);
        dw_buf_printf(b, ",\"best_step\":%" PRIu64 ",\"without_gain\":%" PRIu32 "}", t->best_step,
                      t->without_gain);
    }
}

/* Updates of every model that trains, and the steps that every following copy has seen. */
static void put_counters(const dw_job *job, dw_buf *b)
{
    const char *comma = "";
    dw_buf_adds(b, "\"updates\":{");
    for (size_t i = 0; i < job->n_models; i++) {
        if (!job->models[i].armed)
            continue;
        dw_buf_adds(b, comma);
        dw_json_put_cstr(b, job->models[i].plan->name);
        dw_buf_printf(b, ":%ld", job->models[i].optim.step);
        comma = ",";
    }
    dw_buf_adds(b, "},\"follows\":[");
    for (size_t i = 0; i < job->n_reference; i++) {
        const dw_params *copy;
        const dw_refresh *f = dw_reference_refresh(job->reference[i], &copy);
        dw_buf_printf(b, "%s%" PRIu64, i ? "," : "", f ? f->step : 0);
    }
    dw_buf_adds(b, "]");
}

static dw_status write_state(dw_arena *a, const dw_job *job, const dw_trainer_state *s,
                             const char *dir, dw_err *err)
{
    dw_buf b = {0}, plugins = {0};
    states out = {.dir = dir, .a = a, .json = &plugins, .err = err};
    dw_buf_adds(&plugins, "");
    dw_task_instances(job, save_state, &out);
    dw_buf_printf(&b,
                  "{\"format\":2,\"step\":%" PRIu64 ",\"skipped_in_a_row\":%" PRIu32
                  ",\"n_tokens\":%" PRIu64 ",\"metrics_bytes\":%" PRIu64
                  ",\"samples_bytes\":%" PRIu64 ",\"seen_eval_step\":%" PRIu64
                  ",\"stopped_early\":%s,",
                  s->step, s->skipped_in_a_row, s->n_tokens, s->metrics_bytes, s->samples_bytes,
                  s->seen_eval_step, s->stopped_early ? "true" : "false");
    put_counters(job, &b);
    dw_buf_adds(&b, ",\"tasks\":{");
    put_tasks(job, &b);
    dw_buf_adds(&b, "},\"mix\":");
    dw_mix_put(job->mix, &b);
    dw_buf_printf(&b, ",\"plugins\":[%s]}\n", plugins.ptr ? plugins.ptr : "");
    dw_status st = out.st;
    if (st >= 0)
        st = dw_file_write(dw_path_join(a, dir, STATE), b.ptr, b.len, err);
    dw_buf_finish(&plugins);
    dw_buf_finish(&b);
    return st;
}

static dw_status get_u64(const dw_json *v, const char *key, uint64_t *out, dw_err *err)
{
    int64_t n = 0;
    if (!dw_json_get(v, key))
        return dw_fail(err, DW_E_INPUT, "'%s' is missing", key);
    DW_TRY(dw_json_get_int(v, key, 0, 0, INT64_C(1) << 53, &n, err));
    *out = (uint64_t)n;
    return DW_OK;
}

static dw_status read_task(const dw_json *tasks, dw_live_task *t, const char *dir, dw_err *err)
{
    const dw_json *v = dw_json_get(tasks, t->plan->name);
    uint64_t without = 0, at, rows;
    bool held;
    if (!v)
        return dw_fail(err, DW_E_INPUT, "task '%s' is missing", t->plan->name);
    DW_TRY(get_u64(v, "cursor", &t->cursor, err));
    DW_TRY(get_u64(v, "rollouts", &t->rollouts, err));
    DW_TRY(get_u64(v, "held_at", &at, err));
    DW_TRY(get_u64(v, "held_rows", &rows, err));
    DW_TRY(dw_json_get_bool(v, "held", false, &held, err));
    if (held)
        DW_TRY(dw_gather_restore(t, dir, (uint32_t)at, rows, err));
    DW_TRY(get_u64(v, "best_step", &t->best_step, err));
    DW_TRY(get_u64(v, "without_gain", &without, err));
    t->without_gain = (uint32_t)without;
    const dw_json *best = dw_json_get(v, "best");
    t->best = dw_json_kind(best) == DW_JSON_NUMBER ? dw_json_num(best) : NAN;
    return DW_OK;
}

static dw_status get_counters(dw_job *job, const dw_json *v, dw_err *err)
{
    const dw_json *follows = dw_json_get(v, "follows");
    uint64_t n;
    for (size_t i = 0; i < job->n_models; i++) {
        dw_live_model *m = &job->models[i];
        if (!m->armed)
            continue;
        DW_TRY(get_u64(dw_json_get(v, "updates"), m->plan->name, &n, err));
        m->optim.step = (long)n;
    }
    if (dw_json_len(follows) != job->n_reference)
        return dw_fail(err, DW_E_INPUT, "'follows' counts %zu copies, this run has %zu",
                       dw_json_len(follows), job->n_reference);
    const dw_json *e = dw_json_first(follows);
    for (size_t i = 0; i < job->n_reference; i++, e = dw_json_next(e)) {
        const dw_params *copy;
        int64_t step = 0;
        dw_refresh *f = dw_reference_refresh(job->reference[i], &copy);
        if (!dw_json_int(e, &step) || step < 0)
            return dw_fail(err, DW_E_INPUT, "'follows' holds something that is not a count");
        if (f)
            f->step = (uint64_t)step;
    }
    return DW_OK;
}

static dw_status read_state(dw_arena *a, dw_job *job, dw_trainer_state *s, const dw_json *v,
                            const char *dir, dw_err *err)
{
    uint64_t skipped = 0;
    *s = (dw_trainer_state){0};
    DW_TRY(get_u64(v, "step", &s->step, err));
    DW_TRY(get_counters(job, v, err));
    DW_TRY(get_u64(v, "skipped_in_a_row", &skipped, err));
    DW_TRY(get_u64(v, "n_tokens", &s->n_tokens, err));
    DW_TRY(get_u64(v, "metrics_bytes", &s->metrics_bytes, err));
    DW_TRY(get_u64(v, "samples_bytes", &s->samples_bytes, err));
    DW_TRY(get_u64(v, "seen_eval_step", &s->seen_eval_step, err));
    DW_TRY(dw_json_get_bool(v, "stopped_early", false, &s->stopped_early, err));
    s->skipped_in_a_row = (uint32_t)skipped;
    job->step = s->step;
    for (size_t i = 0; i < job->n_task; i++)
        DW_TRY(read_task(dw_json_get(v, "tasks"), &job->task[i], dir, err));
    DW_TRY(dw_mix_get(job->mix, dw_json_get(v, "mix"), err));
    states in = {.dir = dir, .a = a, .list = dw_json_get(v, "plugins"), .err = err};
    dw_task_instances(job, load_state, &in);
    return in.st;
}

/* ---- the list of files ---- */

static dw_status write_list(dw_arena *a, const char *dir, uint64_t step, dw_err *err)
{
    char **name;
    size_t n;
    dw_buf b = {0};
    DW_TRY(dw_dir_list(a, dir, &name, &n, err));
    dw_buf_printf(&b, "{\"dowel_checkpoint\":1,\"step\":%" PRIu64 ",\"files\":{", step);
    dw_status st = DW_OK;
    for (size_t i = 0; i < n && st >= 0; i++) {
        char hex[65];
        struct stat sb;
        const char *path = dw_path_join(a, dir, name[i]);
        st = dw_sha256_file(path, hex, err);
        if (st >= 0 && stat(path, &sb) != 0)
            st = dw_fail(err, DW_E_IO, "cannot look at %s", path);
        if (st < 0)
            break;
        dw_buf_adds(&b, i ? "," : "");
        dw_json_put_cstr(&b, name[i]);
        dw_buf_printf(&b, ":{\"size\":%lld,\"sha256\":\"%s\"}", (long long)sb.st_size, hex);
    }
    char hex[65];
    dw_buf_adds(&b, "}");
    dw_sha256_of(b.ptr, b.len, hex); /* of everything before it */
    dw_buf_printf(&b, ",\"sha256\":\"%s\"}\n", hex);
    if (st >= 0)
        st = dw_file_write(dw_path_join(a, dir, LIST), b.ptr, b.len, err);
    dw_buf_finish(&b);
    return st;
}

static dw_status check_list_hash(const char *path, const dw_buf *b, dw_err *err)
{
    static const char mark[] = ",\"sha256\":\"";
    enum { TAIL = sizeof mark - 1 + 64 + 3 };
    char hex[65];
    if (b->len < TAIL || memcmp(b->ptr + b->len - TAIL, mark, sizeof mark - 1) != 0)
        return dw_fail(err, DW_E_INPUT, "%s is damaged (it does not end in its checksum)", path);
    dw_sha256_of(b->ptr, b->len - TAIL, hex);
    if (memcmp(hex, b->ptr + b->len - TAIL + sizeof mark - 1, 64) != 0 ||
        memcmp(b->ptr + b->len - 3, "\"}\n", 3) != 0)
        return dw_fail(err, DW_E_INPUT, "%s is damaged (its checksum does not match)", path);
    return DW_OK;
}

static dw_status check_file(dw_arena *a, const char *dir, const dw_json *v, dw_err *err)
{
    const char *path = dw_path_join(a, dir, dw_json_key(v)), *want = NULL;
    int64_t size = 0;
    struct stat sb;
    char hex[65];
    DW_TRY(dw_json_get_int(v, "size", -1, 0, INT64_C(1) << 53, &size, err));
    DW_TRY(dw_json_get_cstr(v, "sha256", "", &want, err));
    if (stat(path, &sb) != 0)
        return dw_fail(err, DW_E_INPUT, "%s is missing", path);
    if (sb.st_size != size)
        return dw_fail(err, DW_E_INPUT, "%s is damaged: it has %lld bytes, %s says %lld", path,
                       (long long)sb.st_size, LIST, (long long)size);
    DW_TRY(dw_sha256_file(path, hex, err));
    if (strcmp(hex, want) != 0)
        return dw_fail(err, DW_E_INPUT, "%s is damaged: its SHA-256 is not the one in %s", path,
                       LIST);
    return DW_OK;
}

static dw_status verify(dw_arena *a, const char *dir, dw_err *err)
{
    const char *path = dw_path_join(a, dir, LIST);
    dw_buf b = {0};
    dw_json *root = NULL;
    dw_status st = dw_file_read(path, 1 << 20, &b, err);
    if (st >= 0)
        st = check_list_hash(path, &b, err);
    if (st >= 0)
        st = dw_json_parse(b.ptr, b.len, DW_JSON_DEPTH_HEADER, 1, &root, err);
    const dw_json *v = st >= 0 ? dw_json_first(dw_json_get(root, "files")) : NULL;
    for (; v && st >= 0; v = dw_json_next(v))
        st = check_file(a, dir, v, err);
    dw_json_free(root);
    dw_buf_finish(&b);
    if (st < 0 && st != DW_E_INPUT)
        st = DW_E_INPUT;
    return st;
}

/* ---- both ways ---- */

static dw_status save_into(dw_arena *a, const dw_job *job, const dw_trainer_state *s,
                           const char *dir, dw_err *err)
{
    DW_TRY(write_models(a, job, dir, err));
    DW_TRY(move_copies(a, job, dir, true, err));
    for (size_t i = 0; i < job->n_task; i++)
        DW_TRY(dw_gather_save(&job->task[i], dir, err));
    DW_TRY(write_state(a, job, s, dir, err));
    return write_list(a, dir, s->step, err);
}

dw_status dw_checkpoint_save(const dw_job *job, const dw_trainer_state *s, const char *dir,
                             dw_err *err)
{
    dw_arena a = {0};
    dw_stage stage;
    DW_TRY(dw_stage_begin(&stage, dir, true, err));
    dw_status st = save_into(&a, job, s, stage.path, err);
    if (st >= 0)
        st = dw_stage_commit(&stage, err);
    else
        dw_stage_abort(&stage);
    dw_arena_finish(&a);
    return st;
}

static dw_status restore(dw_arena *a, dw_job *job, const char *dir, dw_trainer_state *s,
                         dw_err *err)
{
    DW_TRY(verify(a, dir, err));
    DW_TRY(read_models(a, job, dir, err));
    DW_TRY(move_copies(a, job, dir, false, err));
    const char *path = dw_path_join(a, dir, STATE);
    dw_json *root = NULL;
    DW_TRY(dw_json_read(path, 1 << 24, &root, err));
    dw_status st = read_state(a, job, s, root, dir, err);
    if (st < 0)
        dw_err_prefix(err, "%s", path);
    dw_json_free(root);
    return st;
}

dw_status dw_checkpoint_restore(dw_job *job, const char *dir, dw_trainer_state *s, dw_err *err)
{
    dw_arena a = {0};
    dw_status st = restore(&a, job, dir, s, err);
    dw_arena_finish(&a);
    return st;
}

/* ---- the folder of a run ---- */

static bool step_of(const char *name, uint64_t *step)
{
    static const char head[] = "checkpoint-";
    if (strncmp(name, head, sizeof head - 1) != 0)
        return false;
    const char *digits = name + sizeof head - 1;
    if (!*digits || strspn(digits, "0123456789") != strlen(digits) || strlen(digits) > 18)
        return false;
    *step = strtoull(digits, NULL, 10);
    return true;
}

dw_status dw_checkpoint_newest(dw_arena *a, const char *run, const char **dir, uint64_t *step,
                               dw_err *err)
{
    char **name;
    size_t n;
    bool found = false;
    DW_TRY(dw_dir_list(a, run, &name, &n, err));
    for (size_t i = 0; i < n; i++) {
        uint64_t at;
        if (!step_of(name[i], &at) || (found && at < *step))
            continue;
        *step = at;
        *dir = dw_path_join(a, run, name[i]);
        found = true;
    }
    if (!found)
        return dw_fail(err, DW_E_INPUT, "%s holds no checkpoint to go on from", run);
    return DW_OK;
}

static int compare_steps(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

static dw_status prune(dw_arena *a, const char *run, uint32_t keep, dw_err *err)
{
    char **name;
    size_t n, n_step = 0;
    DW_TRY(dw_dir_list(a, run, &name, &n, err));
    uint64_t *step = dw_arena_alloc(a, (n + 1) * sizeof *step);
    for (size_t i = 0; i < n; i++)
        n_step += step_of(name[i], &step[n_step]);
    qsort(step, n_step, sizeof *step, compare_steps);
    for (size_t i = keep ? keep : 1; i < n_step; i++)
        DW_TRY(dw_remove_tree(dw_arena_printf(a, "%s/checkpoint-%" PRIu64, run, step[i]), err));
    return DW_OK;
}

dw_status dw_checkpoint_prune(const char *run, uint32_t keep, dw_err *err)
{
    dw_arena a = {0};
    dw_status st = prune(&a, run, keep, err);
    dw_arena_finish(&a);
    return st;
}
