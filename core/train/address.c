/* Hashes everything that decides what a stage comes to. */
#include "train/address.h"

#include <string.h>

#include "base/file.h"
#include "train/manifest.h"

typedef struct walk {
    const dw_address_inputs *in;
    dw_sha256 *h;
    dw_arena arena;
    dw_err *err;
} walk;

static void add_text(walk *w, const char *s)
{
    dw_sha256_add(w->h, s, strlen(s) + 1);
}

static dw_status add_file(walk *w, const char *path)
{
    char hex[65];
    DW_TRY(dw_sha256_file(path, hex, w->err));
    add_text(w, hex);
    return DW_OK;
}

static dw_status add_model(walk *w, const char *path)
{
    dw_text name;
    const char *folder;
    if (dw_program_ref(path, &name, &folder)) {
        for (size_t i = 0; i < w->in->at; i++)
            if (dw_text_is(name, w->in->program->stage[i].name))
                add_text(w, w->in->address[i]);
        add_text(w, folder);
        return DW_OK;
    }
    if (dw_file_exists(path)) /* GGUF */
        return add_file(w, path);
    if (!dw_dir_exists(path))
        return dw_fail(w->err, DW_E_RECIPE, "no model folder '%s'", path);
    dw_manifest_add_folder(w->h, &w->arena, path);
    return DW_OK;
}

static dw_status add_plugin(walk *w, const char *id)
{
    const dw_plugin_info *info;
    DW_TRY(dw_registry_find(w->in->reg, id, NULL, &info, w->err));
    add_text(w, info->sha256);
    return DW_OK;
}

static dw_status visit(walk *w, const dw_json *v);

/* An option may name a file: then its content counts. */
static dw_status visit_options(walk *w, const dw_json *v)
{
    for (const dw_json *c = dw_json_first(v); c; c = dw_json_next(c))
        if (dw_json_kind(c) == DW_JSON_STRING && dw_json_str(c).ptr[0] == '/' &&
            dw_file_exists(dw_json_str(c).ptr))
            DW_TRY(add_file(w, dw_json_str(c).ptr));
    return DW_OK;
}

static dw_status visit_member(walk *w, const dw_json *c)
{
    const char *key = dw_json_key(c);
    bool text = dw_json_kind(c) == DW_JSON_STRING;
    if (!strcmp(key, "path") && text)
        return add_model(w, dw_json_str(c).ptr);
    if (!strcmp(key, "plugin") && text)
        return add_plugin(w, dw_json_str(c).ptr);
    if (!strcmp(key, "options"))
        return visit_options(w, c);
    if (!strcmp(key, "files")) {
        for (const dw_json *f = dw_json_first(c); f; f = dw_json_next(f))
            DW_TRY(add_file(w, dw_json_str(f).ptr));
        return DW_OK;
    }
    return visit(w, c);
}

static dw_status visit(walk *w, const dw_json *v)
{
    dw_json_type kind = dw_json_kind(v);
    for (const dw_json *c = dw_json_first(v); c; c = dw_json_next(c)) {
        if (kind == DW_JSON_OBJECT)
            DW_TRY(visit_member(w, c));
        else if (kind == DW_JSON_ARRAY)
            DW_TRY(visit(w, c));
    }
    return DW_OK;
}

dw_status dw_address_of(const dw_address_inputs *in, char out[65], dw_err *err)
{
    const dw_plan *p = in->program->stage[in->at].plan;
    walk w = {.in = in, .h = dw_sha256_create(), .err = err};
    dw_buf full = {0};
    dw_json *root = NULL;
    char hex[65];
    dw_manifest_plan_hash(p, hex);
    add_text(&w, hex);
    if (p->has_functions)
        add_text(&w, in->recipe);
    /* printed: in one order whatever the source's was */
    dw_plan_print(p, &full);
    dw_status st = dw_json_parse(full.ptr, full.len, DW_JSON_DEPTH_ROW, 1, &root, err);
    if (st >= 0)
        st = visit(&w, root);
    dw_sha256_hex(w.h, out);
    dw_json_free(root);
    dw_buf_finish(&full);
    dw_arena_finish(&w.arena);
    return st;
}
