/* Records and compares the identity of everything that decides a run's numbers. */
#include "train/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"

/* ---- the plan without what may differ between machines ---- */

static bool is_local(const char *key)
{
    static const char *const keys[] = {"path", "files", "plugin_dirs", "template", "threads", NULL};
    for (size_t i = 0; keys[i]; i++)
        if (!strcmp(key, keys[i]))
            return true;
    return false;
}

static void put_without_paths(dw_buf *b, const dw_json *v)
{
    dw_json_type kind = dw_json_kind(v);
    if (kind != DW_JSON_OBJECT && kind != DW_JSON_ARRAY) {
        dw_json_put(b, v, true, 0);
        return;
    }
    dw_buf_addc(b, kind == DW_JSON_OBJECT ? '{' : '[');
    for (const dw_json *c = dw_json_first(v); c; c = dw_json_next(c)) {
        if (kind == DW_JSON_OBJECT && is_local(dw_json_key(c)))
            continue;
        if (kind == DW_JSON_OBJECT) {
            dw_json_put_cstr(b, dw_json_key(c));
            dw_buf_addc(b, ':');
        }
        put_without_paths(b, c);
        dw_buf_addc(b, ',');
    }
    dw_buf_addc(b, kind == DW_JSON_OBJECT ? '}' : ']');
}

void dw_manifest_plan_hash(const dw_plan *p, char out[65])
{
    dw_buf printed = {0}, b = {0};
    dw_json *root = NULL;
    dw_err err = {{0}};
    dw_plan_print(p, &printed);
    dw_status st = dw_json_parse(printed.ptr, printed.len, DW_JSON_DEPTH_HEADER, 1, &root, &err);
    dw_assert(st >= 0);
    put_without_paths(&b, root);
    dw_sha256_of(b.ptr, b.len, out);
    dw_json_free(root);
    dw_buf_finish(&b);
    dw_buf_finish(&printed);
}

/* ---- as JSON ---- */

static void put_pair(dw_buf *b, const char *key, const char *value, bool first)
{
    dw_buf_adds(b, first ? "" : ",\n    ");
    dw_json_put_cstr(b, key);
    dw_buf_adds(b, ": ");
    dw_json_put_cstr(b, value);
}

static void put_data(const dw_job *job, dw_buf *b)
{
    bool first = true;
    for (size_t i = 0; i < job->n_task; i++) {
        const dw_live_task *t = &job->task[i];
        char hex[65];
        dw_buf name = {0};
        dw_buf_printf(&name, "%s.data", t->plan->name);
        dw_dataset_hash(t->data, hex);
        put_pair(b, name.ptr, hex, first);
        first = false;
        if (t->eval) {
            dw_buf_clear(&name);
            dw_buf_printf(&name, "%s.eval", t->plan->name);
            dw_dataset_hash(t->eval, hex);
            put_pair(b, name.ptr, hex, false);
        }
        dw_buf_finish(&name);
    }
}

typedef struct plugin_list {
    dw_buf *b;
    bool first;
} plugin_list;

static void put_plugin(void *ctx, dw_instance *i, const char *address)
{
    plugin_list *l = ctx;
    const dw_plugin_info *info = dw_instance_info(i);
    dw_buf name = {0};
    dw_buf_printf(&name, "%s (%s %s)", address, info->plugin.id, info->plugin.version);
    put_pair(l->b, name.ptr, info->sha256, l->first);
    l->first = false;
    dw_buf_finish(&name);
}

void dw_manifest_add_folder(dw_sha256 *h, dw_arena *a, const char *dir)
{
    char **name, hex[65];
    size_t n;
    dw_err err = {{0}};
    if (!dw_dir_exists(dir) || dw_dir_list(a, dir, &name, &n, &err) < 0)
        return;
    for (size_t i = 0; i < n; i++) {
        const char *path = dw_path_join(a, dir, name[i]);
        dw_sha256_add(h, name[i], strlen(name[i]) + 1);
        if (dw_dir_exists(path))
            dw_manifest_add_folder(h, a, path);
        else if (dw_sha256_file(path, hex, &err) >= 0)
            dw_sha256_add(h, hex, 64);
    }
}

/* The run's own copy of the recipe: its functions are called again after a resume. */
static void put_recipe(const dw_job *job, const char *path, dw_buf *b)
{
    char hex[65];
    dw_arena a = {0};
    if (!job->plan->has_functions)
        return;
    dw_sha256 *h = dw_sha256_create();
    dw_manifest_add_folder(h, &a, dw_path_join(&a, dw_path_dir(&a, path), "recipe"));
    dw_sha256_hex(h, hex);
    dw_buf_adds(b, ",\n  \"recipe\": ");
    dw_json_put_cstr(b, hex);
    dw_arena_finish(&a);
}

static void put_models(const dw_job *job, dw_buf *b)
{
    char hash[65];
    dw_buf_adds(b, ",\n  \"models\": {");
    for (size_t i = 1; i < job->n_models; i++) {
        dw_model_hash(job->models[i].m, hash);
        put_pair(b, job->models[i].plan->name, hash, i == 1);
    }
    dw_buf_adds(b, "}");
}

static void compose(const dw_job *job, const char *path, dw_buf *b)
{
    char hash[65], blas[128];
    dw_exec_describe(blas, sizeof blas);
    dw_buf_adds(b, "{\n  \"version\": ");
    dw_json_put_cstr(b, DOWEL_VERSION);
    dw_buf_adds(b, ",\n  \"kernel\": ");
    dw_json_put_cstr(b, dw_exec_kernel(job->x));
    dw_buf_adds(b, ",\n  \"blas\": ");
    dw_json_put_cstr(b, blas);
    dw_buf_printf(b, ",\n  \"threads\": %d,\n  \"plan\": ", dw_pool_threads(job->x->pool));
    dw_manifest_plan_hash(job->plan, hash);
    dw_json_put_cstr(b, hash);
    put_recipe(job, path, b);
    dw_buf_adds(b, ",\n  \"model\": ");
    dw_model_hash(job->model, hash);
    dw_json_put_cstr(b, hash);
    put_models(job, b);
    dw_buf_adds(b, ",\n  \"data\": {");
    put_data(job, b);
    dw_buf_adds(b, "},\n  \"plugins\": {");
    plugin_list l = {b, true};
    dw_task_instances(job, put_plugin, &l);
    dw_buf_adds(b, "}\n}\n");
}

dw_status dw_manifest_write(const dw_job *job, const char *path, dw_err *err)
{
    dw_buf b = {0};
    compose(job, path, &b);
    dw_status st = dw_file_write(path, b.ptr, b.len, err);
    dw_buf_finish(&b);
    return st;
}

/* ---- comparing ---- */

static bool same(const dw_json *a, const dw_json *b)
{
    dw_buf x = {0}, y = {0};
    if (a)
        dw_json_put(&x, a, true, 0);
    if (b)
        dw_json_put(&y, b, true, 0);
    bool eq = dw_text_eq(dw_buf_text(&x), dw_buf_text(&y));
    dw_buf_finish(&x);
    dw_buf_finish(&y);
    return eq;
}

static void warn_changed(const dw_json *then, const dw_json *now, const char *key)
{
    const dw_json *a = dw_json_get(then, key), *b = dw_json_get(now, key);
    if (same(a, b))
        return;
    dw_buf x = {0}, y = {0};
    if (a)
        dw_json_put(&x, a, true, 0);
    dw_json_put(&y, b, true, 0);
    dw_log(DW_WARN, "resume", "%s was %s and is %s now: the numbers may differ in the last bits",
           key, x.ptr ? x.ptr : "not recorded", y.ptr);
    dw_buf_finish(&x);
    dw_buf_finish(&y);
}

static dw_status refuse(const char *path, const char *what, const char *name, dw_err *err)
{
    return dw_fail(err, DW_E_INPUT,
                   "%s%s%s is not what the run was started with (its hash differs from the one in "
                   "%s); put the old one back, or start a new run",
                   what, name[0] ? " " : "", name, path);
}

static dw_status compare_members(const dw_json *then, const dw_json *now, const char *key,
                                 const char *what, const char *path, dw_err *err)
{
    const dw_json *a = dw_json_get(then, key), *b = dw_json_get(now, key);
    for (const dw_json *v = dw_json_first(b); v; v = dw_json_next(v))
        if (!same(v, dw_json_get(a, dw_json_key(v))))
            return refuse(path, what, dw_json_key(v), err);
    if (dw_json_len(a) != dw_json_len(b))
        return refuse(path, what, "", err);
    return DW_OK;
}

static dw_status compare(const dw_json *then, const dw_json *now, const char *path, dw_err *err)
{
    if (!same(dw_json_get(then, "plan"), dw_json_get(now, "plan")))
        return refuse(path, "the plan", "", err);
    if (!same(dw_json_get(then, "model"), dw_json_get(now, "model")))
        return refuse(path, "the model", "", err);
    DW_TRY(compare_members(then, now, "models", "the model", path, err));
    DW_TRY(compare_members(then, now, "data", "the data of", path, err));
    DW_TRY(compare_members(then, now, "plugins", "the plugin", path, err));
    /* a function may have been mended so that the run can go on */
    if (!same(dw_json_get(then, "recipe"), dw_json_get(now, "recipe")))
        dw_log(
            DW_WARN, "resume",
            "the run's copy of the recipe has changed since the run began (its hash differs from "
            "the one in %s): its functions may answer otherwise",
            path);
    static const char *const soft[] = {"version", "kernel", "blas", "threads", NULL};
    for (size_t i = 0; soft[i]; i++)
        warn_changed(then, now, soft[i]);
    return DW_OK;
}

dw_status dw_manifest_check(const dw_job *job, const char *path, dw_err *err)
{
    dw_json *then = NULL, *now = NULL;
    dw_buf b = {0};
    DW_TRY(dw_json_read(path, 1 << 20, &then, err));
    compose(job, path, &b);
    dw_status st = dw_json_parse(b.ptr, b.len, DW_JSON_DEPTH_HEADER, 1, &now, err);
    if (st >= 0)
        st = compare(then, now, path, err);
    dw_json_free(then);
    dw_json_free(now);
    dw_buf_finish(&b);
    return st;
}
