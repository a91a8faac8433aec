/* What `dowel plugins` prints about one plugin: for people, and as JSON. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "plug/internal.h"

static void kinds(const dowel_plugin *p, dw_buf *out, bool json)
{
    const struct {
        bool is;
        const char *name;
    } kind[] = {{p->objective, "objective"},
                {p->estimator, "estimator"},
                {p->reward, "reward"},
                {p->judge, "judge"}};
    bool first = true;
    for (size_t i = 0; i < sizeof kind / sizeof *kind; i++) {
        if (!kind[i].is)
            continue;
        if (json)
            dw_buf_printf(out, "%s\"%s\"", first ? "" : ", ", kind[i].name);
        else
            dw_buf_printf(out, "%s%s", first ? "" : ", ", kind[i].name);
        first = false;
    }
}

/* "1e-06 .. 100", "sigmoid | cdpo", or nothing. */
static void range(const dowel_param *p, dw_buf *out)
{
    if (dw_param_numeric(p))
        dw_buf_printf(out, "%g .. %g", p->min, p->max);
    for (size_t i = 0; p->type == DOWEL_CHOICE && p->choices[i]; i++)
        dw_buf_printf(out, "%s%s", i ? " | " : "", p->choices[i]);
}

static const char *fallback(const dowel_param *p)
{
    if (!p->fallback)
        return "(required)";
    return *p->fallback ? p->fallback : "\"\"";
}

static int wider(int w, size_t n)
{
    return n > (size_t)w && n < 40 ? (int)n : w;
}

void dw_plugin_describe(const dw_plugin_info *info, dw_buf *out)
{
    const dowel_plugin *p = &info->plugin;
    dw_buf *r = dw_zalloc(p->n_params + 1, sizeof *r);
    int name = 0, type = 0, def = 0, width = 0;
    bool tunable = false;
    for (uint32_t i = 0; i < p->n_params; i++) {
        range(&p->params[i], &r[i]);
        name = wider(name, strlen(p->params[i].name));
        type = wider(type, strlen(dw_param_type_name(p->params[i].type)));
        def = wider(def, strlen(fallback(&p->params[i])));
        width = wider(width, r[i].len);
        tunable = tunable || (p->params[i].flags & DOWEL_TUNABLE);
    }
    dw_buf_printf(out, "%s %s (", p->id, p->version);
    kinds(p, out, false);
    dw_buf_printf(out, ") - %s\n", p->about);
    for (uint32_t i = 0; i < p->n_params; i++) {
        const dowel_param *o = &p->params[i];
        dw_buf_printf(out, "  %-*s  %-*s  %-*s  %-*s  ", name, o->name, type,
                      dw_param_type_name(o->type), def, fallback(o), width,
                      r[i].ptr ? r[i].ptr : "");
        if (tunable)
            dw_buf_printf(out, "%-7s  ", o->flags & DOWEL_TUNABLE ? "tunable" : "");
        dw_buf_printf(out, "%s%s\n", o->flags & DOWEL_DEPRECATED ? "(deprecated) " : "", o->doc);
        dw_buf_finish(&r[i]);
    }
    dw_free(r);
}

static void describe_param(const dowel_param *o, dw_buf *out)
{
    dw_buf_printf(out, "{\"name\": \"%s\", \"type\": \"%s\", \"default\": ", o->name,
                  dw_param_type_name(o->type));
    if (!o->fallback)
        dw_buf_adds(out, "null");
    else if (dw_param_numeric(o) || o->type == DOWEL_BOOL || o->type == DOWEL_JSON)
        dw_buf_adds(out, o->fallback);
    else
        dw_json_put_cstr(out, o->fallback);
    if (dw_param_numeric(o)) {
        dw_buf_adds(out, ", \"min\": ");
        dw_json_put_num(out, o->min);
        dw_buf_adds(out, ", \"max\": ");
        dw_json_put_num(out, o->max);
    }
    if (o->type == DOWEL_CHOICE) {
        dw_buf_adds(out, ", \"choices\": [");
        for (size_t i = 0; o->choices[i]; i++) {
            dw_buf_adds(out, i ? ", " : "");
            dw_json_put_cstr(out, o->choices[i]);
        }
        dw_buf_addc(out, ']');
    }
    dw_buf_printf(out, ", \"required\": %s, \"tunable\": %s, \"deprecated\": %s, \"doc\": ",
                  o->fallback ? "false" : "true", o->flags & DOWEL_TUNABLE ? "true" : "false",
                  o->flags & DOWEL_DEPRECATED ? "true" : "false");
    dw_json_put_cstr(out, o->doc);
    dw_buf_addc(out, '}');
}

void dw_plugin_describe_json(const dw_plugin_info *info, dw_buf *out)
{
    const dowel_plugin *p = &info->plugin;
    dw_buf_printf(out, "{\"id\": \"%s\", \"version\": ", p->id);
    dw_json_put_cstr(out, p->version);
    dw_buf_adds(out, ", \"kinds\": [");
    kinds(p, out, true);
    dw_buf_adds(out, "], \"about\": ");
    dw_json_put_cstr(out, p->about);
    dw_buf_adds(out, ", \"file\": ");
    dw_json_put_cstr(out, info->path);
    dw_buf_printf(out, ", \"sha256\": \"%s\", \"pure\": %s, \"options\": [", info->sha256,
                  p->flags & DOWEL_PURE ? "true" : "false");
    for (uint32_t i = 0; i < p->n_params; i++) {
        dw_buf_adds(out, i ? ", " : "");
        describe_param(&p->params[i], out);
    }
    dw_buf_adds(out, "]}");
}
