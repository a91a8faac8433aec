/* Reads and prints what a recipe becomes: a plan, or a list of stages. */
#include "train/program.h"

#include <string.h>

#include "base/alloc.h"
#include "train/fields.h"

enum { MAX_PROGRAM_BYTES = 64 << 20 };

bool dw_program_ref(const char *path, dw_text *stage, const char **folder)
{
    if (!dw_plan_is_ref(path))
        return false;
    const char *name = path + strlen("stage:"), *slash = strchr(name, '/');
    *stage = (dw_text){name, slash ? (size_t)(slash - name) : strlen(name)};
    *folder = slash ? slash + 1 : "final";
    return true;
}

/* Every "path" below v that names a stage names an earlier one. */
static dw_status check_refs(const dw_program *p, size_t at, const dw_json *v, dw_err *err)
{
    dw_json_type kind = dw_json_kind(v);
    if (kind != DW_JSON_OBJECT && kind != DW_JSON_ARRAY)
        return DW_OK;
    for (const dw_json *c = dw_json_first(v); c; c = dw_json_next(c)) {
        dw_text name;
        const char *folder;
        if (kind == DW_JSON_OBJECT && !strcmp(dw_json_key(c), "path") &&
            dw_json_kind(c) == DW_JSON_STRING &&
            dw_program_ref(dw_json_str(c).ptr, &name, &folder)) {
            size_t k = 0;
            while (k < at && !dw_text_is(name, p->stage[k].name))
                k++;
            if (k == at)
                return dw_fail(err, DW_E_RECIPE, "path '%s': no stage '%.*s' before this one",
                               dw_json_str(c).ptr, (int)name.len, name.ptr);
        }
        DW_TRY(check_refs(p, at, c, err));
    }
    return DW_OK;
}

static dw_status parse_stage(dw_program *p, const dw_fields *f, const dw_json *plan)
{
    dw_program_stage *s = &p->stage[p->n];
    dw_buf text = {0};
    dw_json *own = NULL;
    DW_TRY(dw_fields_str(f, "name", NULL, &s->name));
    if (!dw_plan_name_ok(s->name))
        return dw_fields_fail(f, "name", "'%s' cannot name a folder", s->name);
    for (size_t i = 0; i < p->n; i++)
        if (!strcmp(p->stage[i].name, s->name))
            return dw_fields_fail(f, "name", "there are two stages '%s'", s->name);
    if (!plan)
        return dw_fields_fail(f, "plan", "missing");
    dw_json_put(&text, plan, false, 0);
    dw_status st =
        dw_json_parse(text.ptr, text.len, DW_JSON_DEPTH_ROW, 1, &own, f->err); /* its own tree */
    dw_buf_finish(&text);
    if (st >= 0)
        st = dw_plan_parse(own, &s->plan, f->err);
    if (st >= 0) {
        st = check_refs(p, p->n, s->plan->root, f->err);
        p->n++;
    }
    if (st < 0)
        dw_err_prefix(f->err, "stages.%s", s->name);
    return st;
}

static dw_status parse_stages(dw_program *p, const dw_json *root, dw_err *err)
{
    static const char *const keys[] = {"dowel", "stages", NULL};
    static const char *const own[] = {"name", "plan", NULL};
    dw_fields none = {NULL, "", &p->arena, err}, f;
    int64_t version;
    DW_TRY(dw_fields_open(&none, root, "", keys, &f));
    DW_TRY(dw_fields_int(&f, "dowel", 0, 1, 1, &version));
    const dw_json *list = dw_json_get(root, "stages");
    if (dw_json_kind(list) != DW_JSON_ARRAY || dw_json_len(list) == 0)
        return dw_fields_fail(&f, "stages", "expected a list of at least one stage");
    p->stage = dw_arena_alloc(&p->arena, dw_json_len(list) * sizeof *p->stage);
    for (const dw_json *e = dw_json_first(list); e; e = dw_json_next(e)) {
        dw_fields s;
        DW_TRY(dw_fields_open(&f, e, dw_arena_printf(&p->arena, "stages.%zu", p->n), own, &s));
        DW_TRY(parse_stage(p, &s, dw_json_get(e, "plan")));
    }
    return DW_OK;
}

static dw_status parse(dw_program *p, dw_json *root, dw_err *err)
{
    p->staged = dw_json_get(root, "stages") != NULL;
    if (p->staged) {
        dw_status st = parse_stages(p, root, err);
        for (size_t i = 0; i < p->n; i++) /* names outlive the tree they came from */
            p->stage[i].name = dw_arena_strdup(&p->arena, p->stage[i].name);
        dw_json_free(root);
        return st;
    }
    p->stage = dw_arena_alloc(&p->arena, sizeof *p->stage);
    DW_TRY(dw_plan_parse(root, &p->stage[0].plan, err));
    p->n = 1;
    return DW_OK;
}

dw_status dw_program_parse(dw_json *root, dw_program **out, dw_err *err)
{
    dw_program *p = dw_zalloc(1, sizeof *p);
    dw_status st = parse(p, root, err);
    *out = st < 0 ? NULL : p;
    if (st < 0)
        dw_program_free(p);
    return st;
}

dw_status dw_program_read(const char *path, dw_program **out, dw_err *err)
{
    dw_json *root;
    *out = NULL;
    DW_TRY(dw_json_read(path, MAX_PROGRAM_BYTES, &root, err));
    dw_status st = dw_program_parse(root, out, err);
    if (st < 0)
        dw_err_prefix(err, "%s", path);
    return st;
}

void dw_program_free(dw_program *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++)
        dw_plan_free(p->stage[i].plan);
    dw_arena_finish(&p->arena);
    dw_free(p);
}

bool dw_program_has_functions(const dw_program *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->stage[i].plan->has_functions)
            return true;
    return false;
}

void dw_program_print(const dw_program *p, dw_buf *out)
{
    if (!p->staged) {
        dw_plan_print(p->stage[0].plan, out);
        return;
    }
    dw_buf b = {0};
    dw_json *root;
    dw_err err = {{0}};
    dw_buf_adds(&b, "{\"dowel\":1,\"stages\":[");
    for (size_t i = 0; i < p->n; i++) {
        dw_buf_adds(&b, i ? ",{\"name\":" : "{\"name\":");
        dw_json_put_cstr(&b, p->stage[i].name);
        dw_buf_adds(&b, ",\"plan\":");
        dw_plan_print(p->stage[i].plan, &b);
        dw_buf_addc(&b, '}');
    }
    dw_buf_adds(&b, "]}");
    dw_status st = dw_json_parse(b.ptr, b.len, DW_JSON_DEPTH_ROW, 1, &root, &err);
    dw_assert(st >= 0);
    dw_json_put(out, root, true, 2);
    dw_json_free(root);
    dw_buf_finish(&b);
}
