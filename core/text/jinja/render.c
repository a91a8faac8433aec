/* A template and its variables to text. */
#include <string.h>

#include "base/alloc.h"
#include "text/jinja/exec.h"

void dw_jinja_text_finish(dw_jinja_text *t)
{
    dw_buf_finish(&t->text);
    dw_buf_finish(&t->mark);
}

static dw_status run(dw_jrun *r, dw_jinja_fill fill, void *ctx)
{
    dw_jvalue context;
    dw_jflow flow = DW_JFLOW_NEXT;
    DW_TRY(dw_jdict_new(r, DW_J_DICT, &context));
    r->context = context.dict;
    DW_TRY(fill(r, ctx));
    DW_TRY(dw_jframe_enter(r, r->t->scope, NULL, &r->frame));
    return dw_jexec(r, r->t->body, &flow);
}

dw_status dw_jinja_render(const dw_jinja *t, dw_jinja_fill fill, void *ctx, dw_jinja_text *out,
                          dw_err *err)
{
    dw_jrun r = {.t = t, .err = err, .fuel = DW_JLIMIT_STEPS};
    const dw_status st = run(&r, fill, ctx);
    if (!st && r.out.len) {
        dw_buf_add(&out->text, r.out.ptr, r.out.len);
        dw_buf_add(&out->mark, r.out.mark, r.out.len);
    }
    dw_jrun_finish(&r);
    return st;
}
