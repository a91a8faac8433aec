/* Opens what a plan needs, and writes the folders it leaves. */
#include "train/live.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/log.h"
#include "train/store.h"

static dw_status open_registry(dw_live *l, dw_err *err)
{
    const dw_plan *p = l->job.plan;
    size_t n = 0;
    const char **dir =
        dw_arena_alloc(&l->arena, (l->o->n_plugin_dir + p->n_plugin_dir + 1) * sizeof *dir);
    for (size_t i = 0; i < l->o->n_plugin_dir; i++)
        dir[n++] = l->o->plugin_dir[i];
    for (size_t i = 0; i < p->n_plugin_dir; i++)
        dir[n++] = p->plugin_dir[i];
    return dw_registry_create(dir, n, &l->job.reg, err);
}

dw_status dw_live_open(dw_live *l, dw_plan *p, const dw_callbacks *cb, const dw_run_options *o,
                       dw_err *err)
{
    *l = (dw_live){.o = o, .lock = -1};
    l->job.plan = p;
    l->job.cb = cb;
    l->job.x = &l->x;
    l->job.progress = &l->progress;
    dw_progress_begin(&l->progress, 0, p->steps, o->quiet);
    DW_TRY(dw_exec_init(&l->x, o->threads ? o->threads : p->threads, o->kernel, err));
    l->x_ready = true;
    DW_TRY(open_registry(l, err));
    DW_TRY(dw_task_open_all(&l->job, err));
    dw_plan_settle(p, dw_dataset_len(l->job.task[0].data)); /* without the rows that were dropped */
    return DW_OK;
}

dw_status dw_live_arm(dw_live *l, dw_err *err)
{
    DW_TRY(dw_models_arm(&l->job, err));
    DW_TRY(dw_references_arm(&l->job, true, err));
    l->stale = dw_arena_alloc(&l->arena, (l->job.n_task + 1) * sizeof *l->stale);
    return DW_OK;
}

void dw_live_close(dw_live *l)
{
    dw_progress_end(&l->progress);
    dw_writer_abandon(l->metrics_log);
    dw_writer_abandon(l->samples_log);
    dw_references_close(&l->job);
    dw_models_close(&l->job);
    dw_store_close(l->job.replay);
    dw_task_close_all(&l->job);
    dw_registry_destroy(l->job.reg);
    if (l->x_ready)
        dw_exec_finish(&l->x);
    dw_metrics_finish(&l->metrics);
    dw_buf_finish(&l->samples);
    dw_arena_finish(&l->arena);
    if (l->lock >= 0)
        close(l->lock);
}

const char *dw_live_path(dw_live *l, const char *name)
{
    return dw_path_join(&l->arena, l->o->out, name);
}

dw_status dw_live_lock(dw_live *l, dw_err *err)
{
    const char *path = dw_live_path(l, ".lock");
    char text[32] = {0};
    l->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (l->lock < 0)
        return dw_fail(err, DW_E_IO, "cannot open %s: %s", path, strerror(errno));
    if (flock(l->lock, LOCK_EX | LOCK_NB) != 0) {
        ssize_t n = read(l->lock, text, sizeof text - 1);
        text[n > 0 ? n : 0] = 0;
        text[strcspn(text, "\n")] = 0;
        return dw_fail(err, DW_E_INPUT,
                       "%s is being trained by another process%s%s; wait for it "
                       "or stop it",
                       l->o->out, text[0] ? ", pid " : "", text);
    }
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(l->lock, 0) != 0 || write(l->lock, text, (size_t)len) != len)
        return dw_fail(err, DW_E_IO, "cannot write %s: %s", path, strerror(errno));
    return DW_OK;
}

dw_status dw_live_list_bad_rows(dw_live *l, dw_err *err)
{
    dw_buf all = {0};
    for (size_t i = 0; i < l->job.n_task; i++) {
        const dw_live_task *t = &l->job.task[i];
        const dw_text bad = dw_dataset_bad_rows(t->data);
        dw_buf_add(&all, bad.ptr, bad.len);
        if (t->eval) {
            const dw_text more = dw_dataset_bad_rows(t->eval);
            dw_buf_add(&all, more.ptr, more.len);
        }
    }
    dw_status st = DW_OK;
    if (all.len)
        st = dw_file_write(dw_live_path(l, "bad_rows.txt"), all.ptr, all.len, err);
    dw_buf_finish(&all);
    return st;
}

void dw_live_print_data(const dw_live *l)
{
    if (l->o->quiet)
        return;
    dw_buf b = {0};
    for (size_t i = 0; i < l->job.n_task; i++) {
        const dw_live_task *t = &l->job.task[i];
        char name[256];
        snprintf(name, sizeof name, "%s data", t->plan->name);
        dw_data_counts_print(dw_dataset_counts(t->data), name, &b);
        snprintf(name, sizeof name, "%s eval", t->plan->name);
        if (t->eval)
            dw_data_counts_print(dw_dataset_counts(t->eval), name, &b);
        dw_task_print_overlap(t, &b);
    }
    if (b.len > 0)
        fputs(b.ptr, stderr);
    dw_buf_finish(&b);
}

/* ---- saving ---- */

static dw_status flush_logs(dw_live *l, dw_err *err)
{
    struct stat sb;
    const char *metrics = dw_live_path(l, "metrics.jsonl");
    const char *samples = dw_live_path(l, "samples.jsonl");
    DW_TRY(dw_writer_flush(l->metrics_log, err));
    DW_TRY(dw_fsync_path(metrics, err));
    if (stat(metrics, &sb) == 0)
        l->state.metrics_bytes = (uint64_t)sb.st_size;
    if (!l->samples_log)
        return DW_OK;
    DW_TRY(dw_writer_flush(l->samples_log, err));
    DW_TRY(dw_fsync_path(samples, err));
    if (stat(samples, &sb) == 0)
        l->state.samples_bytes = (uint64_t)sb.st_size;
    return DW_OK;
}

dw_status dw_live_save(dw_live *l, dw_err *err)
{
    char name[64];
    l->state.step = l->job.step;
    snprintf(name, sizeof name, "checkpoint-%" PRIu64, l->job.step);
    dw_progress_phase(&l->progress, "saving", 0, 1);
    DW_TRY(flush_logs(l, err));
    DW_TRY(dw_references_save_caches(&l->job, l->o->out, err));
    DW_TRY(dw_checkpoint_save(&l->job, &l->state, dw_live_path(l, name), err));
    l->saved_step = l->job.step;
    return dw_checkpoint_prune(l->o->out, l->job.plan->keep, err);
}

static dw_status export_into(dw_live *l, const dw_model *m, const char *dir, const char *extra_name,
                             const dw_buf *extra, dw_err *err)
{
    if (dw_model_has_adapter(m))
        DW_TRY(dw_model_save_adapter(m, dir, err));
    else
        DW_TRY(dw_model_save(m, dir, l->job.plan->save_dtype, err));
    if (!extra_name)
        return DW_OK;
    return dw_file_write(dw_path_join(&l->arena, dir, extra_name), extra->ptr, extra->len, err);
}

dw_status dw_live_export(dw_live *l, const dw_live_model *m, const char *name,
                         const char *extra_name, const dw_buf *extra, dw_err *err)
{
    dw_stage s;
    DW_TRY(dw_stage_begin(&s, dw_live_path(l, name), true, err));
    dw_status st = export_into(l, m->m, s.path, extra_name, extra, err);
    if (st < 0) {
        dw_stage_abort(&s);
        return st;
    }
    return dw_stage_commit(&s, err);
}
