/* The tree of a template. Private to text/. */
#ifndef DW_TEXT_JINJA_NODE_H
#define DW_TEXT_JINJA_NODE_H

#include "base/arena.h"
#include "text/jinja/jinja.h"
#include "text/jinja/value.h"

typedef enum dw_jnode_kind {
    /* expressions */
    DW_JN_CONST, /* value */
    DW_JN_NAME,  /* name */
    DW_JN_NSREF, /* name.attr, assigned to */
    DW_JN_TUPLE, /* list */
    DW_JN_LIST,  /* list */
    DW_JN_DICT,  /* list: key, value, key, value */
    DW_JN_COND,  /* a if b else c (or NULL) */
    DW_JN_AND,
    DW_JN_OR,
    DW_JN_NOT, /* a */
    DW_JN_NEG,
    DW_JN_POS,
    DW_JN_BINARY,  /* a op b */
    DW_JN_CONCAT,  /* list */
    DW_JN_COMPARE, /* a, list of DW_JN_OPERAND */
    DW_JN_OPERAND, /* op, a */
    DW_JN_GETATTR, /* a.name */
    DW_JN_GETITEM, /* a[b] */
    DW_JN_SLICE,   /* a:b:c, each may be NULL */
    DW_JN_CALL,    /* a(list) */
    DW_JN_FILTER,  /* a | name(list) */
    DW_JN_TEST,    /* a is name(list) */
    DW_JN_KEYWORD, /* name=a, among arguments */
    DW_JN_STAR,    /* *a */
    DW_JN_STAR2,   /* **a */
    /* statements */
    DW_JN_DATA,         /* value */
    DW_JN_PRINT,        /* a */
    DW_JN_IF,           /* a, list, other */
    DW_JN_FOR,          /* a: target, b: iterable, c: filter, list, other, flag: recursive */
    DW_JN_SET,          /* a: target, b */
    DW_JN_SET_BLOCK,    /* a: target, b: filters on DW_JN_BODY, list */
    DW_JN_BODY,         /* the block's text, inside a filter */
    DW_JN_MACRO,        /* name, other: parameters (DW_JN_KEYWORD, a: default), list */
    DW_JN_CALL_BLOCK,   /* a: call, other: parameters, list */
    DW_JN_FILTER_BLOCK, /* b, list */
    DW_JN_WITH,         /* other: targets a = values b (DW_JN_SET), list */
    DW_JN_GENERATION,   /* list */
    DW_JN_SCOPE,        /* list: autoescape without effect, and the like */
    DW_JN_BREAK,
    DW_JN_CONTINUE,
} dw_jnode_kind;

typedef enum dw_jop {
    DW_JOP_ADD,
    DW_JOP_SUB,
    DW_JOP_MUL,
    DW_JOP_DIV,
    DW_JOP_FLOORDIV,
    DW_JOP_MOD,
    DW_JOP_POW,
    DW_JOP_EQ,
    DW_JOP_NE,
    DW_JOP_LT,
    DW_JOP_LE,
    DW_JOP_GT,
    DW_JOP_GE,
    DW_JOP_IN,
    DW_JOP_NOTIN,
} dw_jop;

typedef struct dw_jscope dw_jscope;
typedef struct dw_jnode dw_jnode;
struct dw_jnode {
    dw_jnode_kind kind;
    dw_jop op;
    bool flag;
    bool wants_caller, wants_kwargs, wants_varargs; /* of a macro: its body names them */
    uint32_t line, column;
    int name, attr; /* numbers of names */
    dw_jvalue value;
    dw_jnode *a, *b, *c;
    dw_jnode *list, *other;
    dw_jnode *next;
    dw_jscope *scope, *scope2, *scope3; /* of what opens one; of a for: body, filter, else */
};

/* Where a name of a scope comes from when the scope is entered. */
typedef enum dw_jinit { DW_JINIT_MISSING, DW_JINIT_CONTEXT, DW_JINIT_OUTER } dw_jinit;
typedef struct dw_jslot {
    int name;
    dw_jinit init;
} dw_jslot;
struct dw_jscope {
    dw_jslot *slot; /* the names that the scope itself assigns */
    size_t n;
};

struct dw_jinja {
    dw_arena arena;
    const char *name;
    dw_text source; /* newlines made \n */
    const char **names;
    size_t n_names, cap_names, cap_chain;
    int *chain; /* the next name of the same bucket, or -1 */
    int bucket[256];
    dw_jnode *body;
    dw_jscope *scope;
    bool has_generation;
    int n_loop, n_caller, n_kwargs, n_varargs; /* numbers of these names */
};

int dw_jinja_intern(dw_jinja *t, const char *s, size_t n);
/* parse.c reads statements, parse_expr.c expressions, scope.c says which scope owns which name. */
typedef struct dw_jparser dw_jparser;
dw_status dw_jscope_resolve(dw_jinja *t, dw_err *err);

#endif
