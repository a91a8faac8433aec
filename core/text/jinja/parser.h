/* What the two halves of the parser share. Private to text/. */
#ifndef DW_TEXT_JINJA_PARSER_H
#define DW_TEXT_JINJA_PARSER_H

#include "text/jinja/lex.h"
#include "text/jinja/node.h"

struct dw_jparser {
    dw_jinja *t;
    dw_err *err;
    const dw_jtoken *token;
    size_t at;
    int depth, loops;
    const char *const *ends[64]; /* the tags that the open blocks wait for */
    const char *open[64];        /* and the tags that opened them */
    int n_open;
};

#define dw_jparser_fail(p, ...) (dw_jparser_complain((p), __VA_ARGS__), dw_failed(DW_E_INPUT))
__attribute__((format(printf, 2, 3))) void dw_jparser_complain(dw_jparser *p, const char *fmt, ...);
const dw_jtoken *dw_jparser_now(const dw_jparser *p);
const char *dw_jparser_describe(const dw_jtoken *k, char *out, size_t n);
bool dw_jparser_is(const dw_jparser *p, const char *op);     /* this operator is next */
bool dw_jparser_word(const dw_jparser *p, const char *name); /* this name is next */
bool dw_jparser_skip(dw_jparser *p, const char *op);         /* reads it if it is next */
bool dw_jparser_skip_word(dw_jparser *p, const char *name);
dw_status dw_jparser_want(dw_jparser *p, const char *op);
dw_status dw_jparser_name(dw_jparser *p, int *out);
dw_jnode *dw_jparser_node(dw_jparser *p, dw_jnode_kind kind); /* at the next token */
dw_status dw_jparser_deeper(dw_jparser *p);                   /* p->depth-- afterwards */

/* parse_expr.c */
dw_status dw_jparser_expression(dw_jparser *p, bool with_cond, dw_jnode **out);
/* One expression, or several with commas; `end`: a name that ends it, or NULL. */
dw_status dw_jparser_tuple(dw_jparser *p, bool with_cond, const char *end, dw_jnode **out);
/* What can be assigned to; ns: also the attribute of a namespace. */
dw_status dw_jparser_target(dw_jparser *p, const char *end, bool ns, dw_jnode **out);
dw_status dw_jparser_filters(dw_jparser *p, dw_jnode *of, bool inline_first, dw_jnode **out);

#endif
