/* Walks the stages of a program: finds each one's address, then skips, continues or runs it. */
#include "train/stages.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "train/address.h"
#include "train/manifest.h"
#include "train/progress.h"

enum { ADDRESS_DIGITS = 12 };

typedef struct walk {
    const dw_program *p;
    const dw_callbacks *cb;
    const dw_run_options *o;
    dw_arena arena;
    dw_progress progress;
    char recipe[65];      /* hash of the sources */
    const char **address; /* [n], of the stages so far */
    const char **folder;  /* [n], their names inside RUN */
} walk;

bool dw_stages_is(const char *run)
{
    dw_arena a = {0};
    bool is = dw_file_exists(dw_path_join(&a, run, "stages.json"));
    dw_arena_finish(&a);
    return is;
}

const char *dw_stages_whole(dw_arena *a, const char *run)
{
    const char *up = dw_path_dir(a, strchr(run, '/') ? run : dw_path_absolute(a, run));
    return dw_stages_is(up) ? up : run;
}

/* ---- one stage's plan, with the results of earlier ones in place ---- */

static void put_resolved(walk *w, dw_buf *b, const dw_json *v, const char *key)
{
    dw_text name;
    const char *folder;
    dw_json_type kind = dw_json_kind(v);
    if (kind == DW_JSON_STRING && key && !strcmp(key, "path") &&
        dw_program_ref(dw_json_str(v).ptr, &name, &folder)) {
        size_t k = 0;
        while (!dw_text_is(name, w->p->stage[k].name)) /* checked when it was parsed */
            k++;
        const char *run = dw_path_join(&w->arena, w->o->out, w->folder[k]);
        const char *path = dw_path_join(&w->arena, run, folder);
        dw_json_put_cstr(b, dw_path_absolute(&w->arena, path));
        return;
    }
    if (kind != DW_JSON_OBJECT && kind != DW_JSON_ARRAY) {
        dw_json_put(b, v, true, 0);
        return;
    }
    dw_buf_addc(b, kind == DW_JSON_OBJECT ? '{' : '[');
    for (const dw_json *c = dw_json_first(v); c; c = dw_json_next(c)) {
        if (c != dw_json_first(v))
            dw_buf_addc(b, ',');
        if (kind == DW_JSON_OBJECT) {
            dw_json_put_cstr(b, dw_json_key(c));
            dw_buf_addc(b, ':');
        }
        put_resolved(w, b, c, kind == DW_JSON_OBJECT ? dw_json_key(c) : NULL);
    }
    dw_buf_addc(b, kind == DW_JSON_OBJECT ? '}' : ']');
}

static dw_status resolve(walk *w, size_t at, dw_plan **out, dw_err *err)
{
    dw_buf b = {0};
    dw_json *root = NULL;
    put_resolved(w, &b, w->p->stage[at].plan->root, NULL);
    dw_status st = dw_json_parse(b.ptr, b.len, DW_JSON_DEPTH_ROW, 1, &root, err);
    dw_buf_finish(&b);
    return st < 0 ? st : dw_plan_parse(root, out, err);
}

/* ---- addresses ---- */

/* A copy of the sources in RUN/recipe hashes as the sources themselves do. */
static dw_status hash_sources(walk *w, dw_err *err)
{
    dw_sha256 *h = dw_sha256_create();
    dw_status st = DW_OK;
    for (size_t i = 0; i < w->o->n_source && st >= 0; i++) {
        char hex[65] = "";
        dw_sha256_add(h, w->o->source_name[i], strlen(w->o->source_name[i]) + 1);
        st = dw_sha256_file(w->o->source[i], hex, err);
        dw_sha256_add(h, hex, sizeof hex);
    }
    dw_sha256_hex(h, w->recipe);
    return st;
}

static dw_status find_address(walk *w, size_t at, dw_err *err)
{
    const dw_plan *p = w->p->stage[at].plan;
    size_t n = w->o->n_plugin_dir + p->n_plugin_dir;
    const char **dir = dw_arena_alloc(&w->arena, (n + 1) * sizeof *dir);
    for (size_t i = 0; i < n; i++)
        dir[i] =
            i < w->o->n_plugin_dir ? w->o->plugin_dir[i] : p->plugin_dir[i - w->o->n_plugin_dir];
    dw_registry *reg = NULL;
    char hex[65];
    DW_TRY(dw_registry_create(dir, n, &reg, err));
    const dw_address_inputs in = {
        .program = w->p, .address = w->address, .at = at, .reg = reg, .recipe = w->recipe};
    dw_status st = dw_address_of(&in, hex, err);
    dw_registry_destroy(reg);
    if (st < 0)
        return st;
    w->address[at] = dw_arena_strdup(&w->arena, hex);
    w->folder[at] =
        dw_arena_printf(&w->arena, "%s-%.*s", w->p->stage[at].name, ADDRESS_DIGITS, hex);
    return DW_OK;
}

/* ---- the folder ---- */

static dw_status refuse_used(const walk *w, dw_err *err)
{
    dw_arena a = {0};
    char **name;
    size_t n = 0;
    dw_status st = DW_OK;
    if (dw_stages_is(w->o->out))
        return DW_OK;
    if (dw_dir_exists(w->o->out))
        st = dw_dir_list(&a, w->o->out, &name, &n, err);
    else if (dw_file_exists(w->o->out))
        st = dw_fail(err, DW_E_INPUT, "%s is a file; --out names a folder", w->o->out);
    if (st >= 0 && n > 0)
        st = dw_fail(err, DW_E_INPUT,
                     "%s is not empty and holds no stages; name another folder with --out",
                     w->o->out);
    dw_arena_finish(&a);
    return st;
}

static dw_status write_program(walk *w, dw_err *err)
{
    dw_buf b = {0};
    const dw_run_options *o = w->o;
    DW_TRY(dw_mkdirs(o->out, err));
    dw_program_print(w->p, &b);
    dw_status st = dw_file_write(dw_path_join(&w->arena, o->out, "stages.json"), b.ptr, b.len, err);
    dw_buf_finish(&b);
    const char *to = dw_path_join(&w->arena, o->out, "recipe");
    for (size_t i = 0; i < o->n_source && st >= 0; i++) {
        const char *file = dw_path_join(&w->arena, to, o->source_name[i]);
        if (!strcmp(dw_path_absolute(&w->arena, o->source[i]), dw_path_absolute(&w->arena, file)))
            continue; /* resumed: this is the copy */
        st = dw_mkdirs(dw_path_dir(&w->arena, file), err);
        if (st >= 0)
            st = dw_copy_file(o->source[i], file, err);
    }
    return st;
}

static const char *run_of(walk *w, size_t at)
{
    return dw_path_join(&w->arena, w->o->out, w->folder[at]);
}

static bool finished(walk *w, size_t at)
{
    return dw_dir_exists(dw_path_join(&w->arena, run_of(w, at), "final"));
}

static dw_status write_index(walk *w, size_t n, dw_err *err)
{
    dw_buf b = {0};
    dw_buf_adds(&b, "{\n  \"stages\": [");
    for (size_t i = 0; i < n; i++) {
        dw_buf_adds(&b, i ? ",\n    {\"name\": " : "\n    {\"name\": ");
        dw_json_put_cstr(&b, w->p->stage[i].name);
        dw_buf_adds(&b, ", \"address\": ");
        dw_json_put_cstr(&b, w->address[i]);
        dw_buf_adds(&b, ", \"folder\": ");
        dw_json_put_cstr(&b, w->folder[i]);
        dw_buf_printf(&b, ", \"finished\": %s}", finished(w, i) ? "true" : "false");
    }
    dw_buf_adds(&b, "\n  ]\n}\n");
    dw_status st =
        dw_file_write(dw_path_join(&w->arena, w->o->out, "index.json"), b.ptr, b.len, err);
    dw_buf_finish(&b);
    return st;
}

static dw_status link_final(walk *w, dw_err *err)
{
    const char *at = dw_path_join(&w->arena, w->o->out, "final");
    const char *new = dw_arena_printf(&w->arena, "%s.tmp.%ld", at, (long)getpid());
    const char *to = dw_path_join(&w->arena, w->folder[w->p->n - 1], "final");
    unlink(new);
    if (symlink(to, new) != 0 || rename(new, at) != 0)
        return dw_fail(err, DW_E_IO, "cannot link %s to %s: %s", at, to, strerror(errno));
    return DW_OK;
}

/* ---- running ---- */

static dw_status run_stage(walk *w, size_t at, dw_err *err)
{
    dw_run_options o = *w->o;
    dw_plan *plan = NULL;
    o.out = run_of(w, at);
    const char *name = w->p->stage[at].name;
    if (finished(w, at)) {
        dw_progress_say(&w->progress, "stage %zu of %zu, %s: done before, in %s", at + 1, w->p->n,
                        name, o.out);
        return DW_OK;
    }
    dw_progress_say(&w->progress, "%sstage %zu of %zu, %s: %s", at ? "\n" : "", at + 1, w->p->n,
                    name, o.out);
    DW_TRY(resolve(w, at, &plan, err));
    const dw_callbacks *cb = w->cb ? &w->cb[at] : NULL;
    bool begun = dw_file_exists(dw_path_join(&w->arena, o.out, "manifest.json"));
    dw_status st = DW_OK;
    if (!begun) /* a folder without a manifest never trained a step */
        st = dw_remove_tree(o.out, err);
    if (st >= 0)
        st = begun ? dw_run_resume(plan, cb, &o, err) : dw_run(plan, cb, &o, err);
    dw_plan_free(plan);
    return st;
}

static dw_status run_all(walk *w, dw_err *err)
{
    DW_TRY(refuse_used(w, err));
    DW_TRY(hash_sources(w, err));
    DW_TRY(write_program(w, err));
    for (size_t i = 0; i < w->p->n; i++) {
        dw_status st = find_address(w, i, err);
        if (st >= 0)
            st = write_index(w, i + 1, err);
        if (st >= 0)
            st = run_stage(w, i, err);
        if (st == DW_E_SIGINT || st == DW_E_SIGTERM) {
            dw_progress_say(&w->progress, "stage %s is not finished; go on with: dowel resume %s",
                            w->p->stage[i].name, w->o->out);
            return st;
        }
        if (st < 0) {
            dw_err_prefix(err, "stage %s", w->p->stage[i].name);
            return st;
        }
        DW_TRY(write_index(w, i + 1, err));
    }
    DW_TRY(link_final(w, err));
    dw_progress_say(&w->progress, "all %zu stages are done; %s/final is the last one's result",
                    w->p->n, w->o->out);
    return DW_OK;
}

static walk begin(const dw_program *p, const dw_callbacks *cb, const dw_run_options *o)
{
    walk w = {.p = p, .cb = cb, .o = o, .progress = {.quiet = o->quiet}};
    w.address = dw_arena_alloc(&w.arena, (p->n + 1) * sizeof *w.address);
    w.folder = dw_arena_alloc(&w.arena, (p->n + 1) * sizeof *w.folder);
    return w;
}

dw_status dw_stages_run(const dw_program *p, const dw_callbacks *cb, const dw_run_options *o,
                        dw_err *err)
{
    walk w = begin(p, cb, o);
    dw_status st = run_all(&w, err);
    dw_arena_finish(&w.arena);
    return st;
}

/* ---- without running ---- */

static bool needs_earlier(walk *w, const dw_json *v)
{
    dw_text name;
    const char *folder;
    for (const dw_json *c = dw_json_first(v); c; c = dw_json_next(c)) {
        if (dw_json_kind(v) == DW_JSON_OBJECT && !strcmp(dw_json_key(c), "path") &&
            dw_json_kind(c) == DW_JSON_STRING &&
            dw_program_ref(dw_json_str(c).ptr, &name, &folder)) {
            size_t k = 0;
            while (!dw_text_is(name, w->p->stage[k].name))
                k++;
            if (!finished(w, k))
                return true;
        }
        if (needs_earlier(w, c))
            return true;
    }
    return false;
}

static dw_status dry_all(walk *w, dw_buf *out, dw_err *err)
{
    DW_TRY(hash_sources(w, err));
    for (size_t i = 0; i < w->p->n; i++) {
        DW_TRY(find_address(w, i, err));
        dw_buf_printf(out, "%sstage %s (%s)\n", i ? "\n" : "", w->p->stage[i].name, w->folder[i]);
        if (finished(w, i)) {
            dw_buf_printf(out, "  finished in %s\n", run_of(w, i));
            continue;
        }
        if (needs_earlier(w, w->p->stage[i].plan->root)) {
            dw_buf_adds(out, "  waits for the model of an earlier stage\n");
            continue;
        }
        dw_plan *plan = NULL;
        DW_TRY(resolve(w, i, &plan, err));
        dw_status st = dw_run_dry(plan, w->cb ? &w->cb[i] : NULL, w->o, out, err);
        dw_plan_free(plan);
        DW_TRY(st);
    }
    return DW_OK;
}

dw_status dw_stages_dry(const dw_program *p, const dw_callbacks *cb, const dw_run_options *o,
                        dw_buf *out, dw_err *err)
{
    walk w = begin(p, cb, o);
    dw_status st = dry_all(&w, out, err);
    dw_arena_finish(&w.arena);
    return st;
}

static dw_status show_stage(dw_arena *a, const char *run, const dw_json *s, dw_buf *out,
                            dw_err *err)
{
    const char *name, *folder;
    bool done;
    DW_TRY(dw_json_get_cstr(s, "name", "?", &name, err));
    DW_TRY(dw_json_get_cstr(s, "folder", "?", &folder, err));
    DW_TRY(dw_json_get_bool(s, "finished", false, &done, err));
    const char *path = dw_path_join(a, run, folder);
    dw_buf_printf(out, "stage %s%s: %s\n", name, done ? "" : " (not finished)", path);
    if (dw_file_exists(dw_path_join(a, path, "metrics.jsonl")))
        DW_TRY(dw_run_show(path, out, err));
    dw_buf_addc(out, '\n');
    return DW_OK;
}

dw_status dw_stages_show(const char *run, dw_buf *out, dw_err *err)
{
    dw_arena a = {0};
    dw_json *root = NULL;
    dw_status st = dw_json_read(dw_path_join(&a, run, "index.json"), 1 << 20, &root, err);
    const dw_json *list = dw_json_get(root, "stages");
    for (const dw_json *s = dw_json_first(list); s && st >= 0; s = dw_json_next(s))
        st = show_stage(&a, run, s, out, err);
    dw_json_free(root);
    dw_arena_finish(&a);
    return st;
}
