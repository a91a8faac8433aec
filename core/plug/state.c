/* Saving and loading a plugin's state: exactly the bytes it wrote, all of them or an error. */
#include <string.h>

#include "plug/internal.h"

enum { STATE_MAX = 1 << 30 };

/* `shown` comes first: the plugin's function gets its address back. */
typedef struct sink {
    dowel_sink shown;
    dw_buf *to;
} sink;

static dowel_status sink_write(dowel_sink *to, const void *bytes, size_t n)
{
    sink *s = (sink *)to;
    if (n > STATE_MAX - s->to->len)
        return DOWEL_E_LIMIT;
    dw_buf_add(s->to, bytes, n);
    return DOWEL_OK;
}

typedef struct source {
    dowel_source shown;
    const char *at;
    uint64_t left; /* the plugin could overwrite shown.left */
} source;

static dowel_status source_read(dowel_source *from, void *bytes, size_t n)
{
    source *s = (source *)from;
    if (n > s->left)
        return DOWEL_E_STATE;
    memcpy(bytes, s->at, n);
    s->at += n;
    s->left -= n;
    s->shown.left = s->left;
    return DOWEL_OK;
}

dw_status dw_instance_save(dw_instance *i, dw_buf *out, dw_err *err)
{
    const dowel_plugin *p = &i->info->plugin;
    if (!p->save)
        return DW_OK;
    dw_call c;
    dowel_err e = dw_call_err();
    dw_buf b = {0};
    sink s = {.shown = {.size = sizeof s.shown, .write = sink_write}, .to = &b};
    dw_call_begin(&c, i, "save");
    dw_status st = dw_call_end(&c, p->save(i->self, &s.shown, &e), &e, err);
    if (st == DW_OK && b.len)
        dw_buf_add(out, b.ptr, b.len);
    dw_buf_finish(&b);
    return st;
}

dw_status dw_instance_load(dw_instance *i, const void *bytes, size_t n, uint32_t state_version,
                           dw_err *err)
{
    const dowel_plugin *p = &i->info->plugin;
    if (!p->load) {
        if (n == 0)
            return DW_OK;
        return dw_fail(err, DW_E_INPUT,
                       "%s: the checkpoint holds %zu bytes of state, but this version of the "
                       "plugin keeps none; use the version that the run started with",
                       i->label, n);
    }
    dw_call c;
    dowel_err e = dw_call_err();
    source s = {
        .shown = {.size = sizeof s.shown, .left = n, .read = source_read}, .at = bytes, .left = n};
    dw_call_begin(&c, i, "load");
    dowel_status st = p->load(i->self, &s.shown, state_version, &e);
    if (st == DOWEL_OK && s.left > 0)
        return dw_call_refuse(&c, DW_E_INPUT, err, "left %llu of %zu bytes of saved state unread",
                              (unsigned long long)s.left, n);
    return dw_call_end(&c, st, &e, err);
}
