/* Starts and continues runs: makes or finds the folder, opens everything, trains. */
#include "train/run.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "train/live.h"
#include "train/manifest.h"
#include "train/store.h"

/* ---- a new run ---- */

static dw_status refuse_used(const dw_run_options *o, dw_err *err)
{
    dw_arena a = {0};
    char **name;
    size_t n = 0;
    dw_status st = DW_OK;
    if (dw_dir_exists(o->out))
        st = dw_dir_list(&a, o->out, &name, &n, err);
    else if (dw_file_exists(o->out))
        st = dw_fail(err, DW_E_INPUT, "%s is a file; --out names a folder", o->out);
    if (st >= 0 && n > 0)
        st = dw_fail(err, DW_E_INPUT,
                     "%s exists and is not empty; name another folder with --out, or continue it "
                     "with `dowel resume %s`",
                     o->out, o->out);
    dw_arena_finish(&a);
    return st;
}

static dw_status copy_sources(dw_live *l, dw_err *err)
{
    const dw_run_options *o = l->o;
    if (o->n_source == 0)
        return DW_OK;
    for (size_t i = 0; i < o->n_source; i++) {
        const char *to = dw_path_join(&l->arena, dw_live_path(l, "recipe"), o->source_name[i]);
        DW_TRY(dw_mkdirs(dw_path_dir(&l->arena, to), err));
        DW_TRY(dw_copy_file(o->source[i], to, err));
    }
    return DW_OK;
}

static dw_status make_folder(dw_live *l, dw_err *err)
{
    DW_TRY(dw_mkdirs(l->o->out, err));
    DW_TRY(dw_live_lock(l, err));
    dw_buf b = {0};
    dw_plan_print(l->job.plan, &b);
    dw_status st = dw_file_write(dw_live_path(l, "plan.json"), b.ptr, b.len, err);
    dw_buf_finish(&b);
    DW_TRY(st);
    DW_TRY(copy_sources(l, err));
    return dw_manifest_write(&l->job, dw_live_path(l, "manifest.json"), err);
}

/* ---- recorded rollouts; RUN/rollouts.json remembers what was asked for ---- */

static dw_status write_rollouts(dw_live *l, dw_err *err)
{
    const dw_run_options *o = l->o;
    dw_buf b = {0};
    if (!o->from && !o->record)
        return DW_OK;
    dw_buf_printf(&b,
                  "{\"record\": %s, \"score_again\": %s, \"from\": ", o->record ? "true" : "false",
                  o->score_again ? "true" : "false");
    if (o->from)
        dw_json_put_cstr(&b, dw_path_absolute(&l->arena, o->from));
    else
        dw_buf_adds(&b, "null");
    dw_buf_adds(&b, "}\n");
    dw_status st = dw_file_write(dw_live_path(l, "rollouts.json"), b.ptr, b.len, err);
    dw_buf_finish(&b);
    return st;
}

static dw_status open_rollouts(dw_live *l, dw_err *err)
{
    const char *path = dw_live_path(l, "rollouts.json"), *from = NULL;
    dw_json *root = NULL;
    bool record = false;
    if (!dw_file_exists(path))
        return DW_OK;
    DW_TRY(dw_json_read(path, 1 << 16, &root, err));
    dw_status st = dw_json_get_bool(root, "record", false, &record, err);
    if (st >= 0)
        st = dw_json_get_bool(root, "score_again", false, &l->job.score_again, err);
    if (st >= 0 && dw_json_kind(dw_json_get(root, "from")) == DW_JSON_STRING)
        st = dw_json_get_cstr(root, "from", NULL, &from, err);
    if (st >= 0 && from)
        st = dw_store_open(from, &l->job.replay, err);
    if (record)
        l->job.record = dw_live_path(l, "rollouts");
    dw_json_free(root);
    return st;
}

static bool has_rollouts(const dw_job *job)
{
    for (size_t i = 0; i < job->n_task; i++)
        if (job->task[i].plan->rollout)
            return true;
    return false;
}

/* The logs, cut back to what the checkpoint knows of. */
static dw_status open_log(const char *path, uint64_t keep, dw_writer **out, dw_err *err)
{
    if (dw_file_exists(path) && truncate(path, (off_t)keep) != 0)
        return dw_fail(err, DW_E_IO, "cannot cut %s to %" PRIu64 " bytes: %s", path, keep,
                       strerror(errno));
    return dw_writer_append(path, out, err);
}

static dw_status open_logs(dw_live *l, dw_err *err)
{
    DW_TRY(
        open_log(dw_live_path(l, "metrics.jsonl"), l->state.metrics_bytes, &l->metrics_log, err));
    if (!has_rollouts(&l->job))
        return DW_OK;
    l->job.samples = &l->samples;
    return open_log(dw_live_path(l, "samples.jsonl"), l->state.samples_bytes, &l->samples_log, err);
}

static void print_further(dw_live *l, const dw_live_model *m)
{
    if (m->plan->trains)
        dw_progress_say(&l->progress, "model %s: %s: %zu parameters, %zu trained%s", m->plan->name,
                        dw_model_dir(m->m), dw_model_n_params(m->m), dw_model_trained(m->m)->n,
                        dw_model_has_adapter(m->m) ? " (adapter)" : "");
    else
        dw_progress_say(&l->progress, "model %s: %s: %zu parameters, none trained", m->plan->name,
                        dw_model_dir(m->m), dw_model_n_params(m->m));
}

static void print_start(dw_live *l)
{
    char blas[128];
    dw_exec_describe(blas, sizeof blas);
    dw_live_print_data(l);
    dw_progress_say(&l->progress, "%s: %zu parameters, %zu trained%s; kernel %s, %s, %d threads",
                    dw_model_dir(l->job.model), dw_model_n_params(l->job.model),
                    l->job.models[0].plan->trains ? dw_model_trained(l->job.model)->n : 0,
                    dw_model_has_adapter(l->job.model) ? " (adapter)" : "", dw_exec_kernel(&l->x),
                    blas, dw_pool_threads(l->x.pool));
    for (size_t i = 1; i < l->job.n_models; i++)
        print_further(l, &l->job.models[i]);
    for (size_t i = 0; i < l->job.n_task; i++) {
        const dw_live_task *t = &l->job.task[i];
        const dw_data_counts *c = dw_dataset_counts(t->data);
        dw_progress_say(&l->progress, "task %s: %zu %s, %" PRIu64 " tokens, %u rows a step",
                        t->plan->name, dw_dataset_len(t->data),
                        dw_data_type_name(t->plan->data.spec.type), c->tokens, t->plan->rows);
    }
    dw_progress_say(&l->progress, "%" PRIu64 " steps into %s", l->job.plan->steps, l->o->out);
}

static dw_status start(dw_live *l, dw_err *err)
{
    print_start(l);
    DW_TRY(make_folder(l, err));
    DW_TRY(dw_live_list_bad_rows(l, err));
    DW_TRY(write_rollouts(l, err));
    DW_TRY(open_rollouts(l, err));
    DW_TRY(dw_live_arm(l, err));
    DW_TRY(open_logs(l, err));
    DW_TRY(dw_references_prepare(&l->job, l->o->out, err));
    return dw_live_train(l, err);
}

dw_status dw_run(dw_plan *p, const dw_callbacks *cb, const dw_run_options *o, dw_err *err)
{
    dw_live l;
    DW_TRY(refuse_used(o, err));
    dw_status st = dw_live_open(&l, p, cb, o, err);
    if (st >= 0)
        st = start(&l, err);
    dw_live_close(&l);
    return st;
}

/* ---- going on ---- */

static dw_status restore(dw_live *l, dw_err *err)
{
    const char *dir = NULL;
    uint64_t step = 0;
    dw_err none = {{0}};
    if (dw_checkpoint_newest(&l->arena, l->o->out, &dir, &step, &none) < 0) {
        dw_progress_say(&l->progress, "no checkpoint yet: starting again from step 0");
        return DW_OK;
    }
    dw_status st = dw_checkpoint_restore(&l->job, dir, &l->state, err);
    if (st == DW_E_INPUT)
        dw_log(DW_WARN, "resume", "remove %s to go on from the checkpoint before it", dir);
    DW_TRY(st);
    dw_references_moved(&l->job);
    l->saved_step = l->job.step;
    dw_progress_say(&l->progress, "going on from %s", dir);
    return DW_OK;
}

static dw_status go_on(dw_live *l, dw_err *err)
{
    DW_TRY(dw_manifest_check(&l->job, dw_live_path(l, "manifest.json"), err));
    print_start(l);
    DW_TRY(dw_live_arm(l, err));
    DW_TRY(open_rollouts(l, err));
    DW_TRY(restore(l, err));
    DW_TRY(open_logs(l, err));
    DW_TRY(dw_references_prepare(&l->job, l->o->out, err));
    return dw_live_train(l, err);
}

static dw_status check_resumable(const dw_run_options *o, dw_err *err)
{
    dw_arena a = {0};
    dw_status st = DW_OK;
    if (!dw_file_exists(dw_path_join(&a, o->out, "manifest.json")))
        st = dw_fail(err, DW_E_INPUT, "%s is not the folder of a run (no manifest.json in it)",
                     o->out);
    else if (dw_dir_exists(dw_path_join(&a, o->out, "final")))
        st = dw_fail(err, DW_E_INPUT, "%s is finished: the result is in %s/final", o->out, o->out);
    dw_arena_finish(&a);
    return st;
}

static dw_status lock_only(dw_live *l, const dw_run_options *o, dw_err *err)
{
    *l = (dw_live){.o = o, .lock = -1};
    dw_status st = dw_live_lock(l, err);
    if (st >= 0)
        st = dw_stage_clean(l->o->out, err);
    dw_arena_finish(&l->arena);
    return st;
}

dw_status dw_run_resume(dw_plan *p, const dw_callbacks *cb, const dw_run_options *o, dw_err *err)
{
    dw_live l;
    int lock;
    DW_TRY(check_resumable(o, err));
    DW_TRY(lock_only(&l, o, err)); /* before minutes of loading */
    lock = l.lock;
    dw_status st = dw_live_open(&l, p, cb, o, err);
    l.lock = lock;
    if (st >= 0)
        st = go_on(&l, err);
    dw_live_close(&l);
    return st;
}
