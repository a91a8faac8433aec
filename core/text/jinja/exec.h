/* The tree walk: frames, macros, loops. Private to text/. */
#ifndef DW_TEXT_JINJA_EXEC_H
#define DW_TEXT_JINJA_EXEC_H

#include "text/jinja/call.h"
#include "text/jinja/node.h"
#include "text/jinja/run.h"

/* The names that one scope owns, while it is entered. */
struct dw_jframe {
    dw_jframe *outer; /* as the source nests them */
    const dw_jscope *scope;
    dw_jvalue *slot; /* [scope->n] */
};
dw_status dw_jframe_enter(dw_jrun *r, const dw_jscope *scope, dw_jframe *outer, dw_jframe **out);
dw_status dw_jframe_reset(dw_jrun *r, dw_jframe *f); /* every slot as at the start */
void dw_jframe_set(dw_jframe *f, int name, dw_jvalue v);
/* Missing when there is no such variable. */
dw_jvalue dw_jframe_find(const dw_jrun *r, const dw_jframe *f, int name);

struct dw_jmacro {
    const char *name;
    const dw_jnode *node; /* DW_JN_MACRO or DW_JN_CALL_BLOCK */
    dw_jframe *outer;
};

struct dw_jloop {
    const dw_jnode *node;
    dw_jframe *outer;
    dw_jiter it;
    dw_jframe *test; /* of the filter, or NULL */
    int64_t index0, length, depth0;
    dw_jvalue before, current, after; /* missing: none */
    bool ended;
    dw_jvalue changed;
};

dw_status dw_jeval(dw_jrun *r, const dw_jnode *n, dw_jvalue *out);
dw_status dw_jeval_args(dw_jrun *r, const dw_jnode *list, dw_jargs *out);
/* Assigns to a name, a namespace's attribute or a tuple of those. */
dw_status dw_jeval_assign(dw_jrun *r, const dw_jnode *target, dw_jframe *f, dw_jvalue v);

typedef enum dw_jflow { DW_JFLOW_NEXT, DW_JFLOW_BREAK, DW_JFLOW_CONTINUE } dw_jflow;
dw_status dw_jexec(dw_jrun *r, const dw_jnode *list, dw_jflow *flow);
dw_status dw_jexec_loop(dw_jrun *r, const dw_jnode *n, dw_jframe *outer, const dw_jvalue *over,
                        int64_t depth0);
/* Counts a level of C calls; on success the caller counts back. */
dw_status dw_jexec_deeper(dw_jrun *r);

#endif
