/* Expressions, with the precedence that jinja2 gives them (which is not Python's everywhere). */
#include <string.h>

#include "text/jinja/parser.h"
#include "text/jinja/run.h"

enum { LONGEST_CHAIN = 400 };

typedef dw_status (*parse_fn)(dw_jparser *p, dw_jnode **out);

static dw_status parse_unary(dw_jparser *p, bool with_filter, dw_jnode **out);

static dw_status count_link(dw_jparser *p, int *n)
{
    if (++*n > LONGEST_CHAIN)
        return dw_jparser_fail(p, "an expression of more than %d links", LONGEST_CHAIN);
    return DW_OK;
}

static void append(dw_jnode ***tail, dw_jnode *n)
{
    **tail = n;
    if (n)
        *tail = &n->next;
}

/* ---- primary ---- */

static dw_status parse_items(dw_jparser *p, dw_jnode_kind kind, const char *close, dw_jnode **out)
{
    dw_jnode *n = dw_jparser_node(p, kind), *item, **tail = &n->list;
    p->at++;
    while (!dw_jparser_is(p, close)) {
        if (n->list)
            DW_TRY(dw_jparser_want(p, ","));
        if (dw_jparser_is(p, close))
            break;
        DW_TRY(dw_jparser_expression(p, true, &item));
        append(&tail, item);
        if (kind != DW_JN_DICT)
            continue;
        DW_TRY(dw_jparser_want(p, ":"));
        DW_TRY(dw_jparser_expression(p, true, &item));
        append(&tail, item);
    }
    *out = n;
    return dw_jparser_want(p, close);
}

static dw_status parse_strings(dw_jparser *p, dw_jnode *n)
{
    dw_buf all = {0};
    const dw_jtoken *k = dw_jparser_now(p);
    dw_text text = k->text;
    p->at++;
    if (dw_jparser_now(p)->kind == DW_JT_STRING) {
        dw_buf_add(&all, text.ptr, text.len);
        for (; (k = dw_jparser_now(p))->kind == DW_JT_STRING; p->at++)
            dw_buf_add(&all, k->text.ptr, k->text.len);
        text = (dw_text){dw_arena_strndup(&p->t->arena, all.ptr, all.len), all.len};
        dw_buf_finish(&all);
    }
    n->value = dw_jtext(text.ptr, text.len, DW_JMARK_LITERAL);
    return DW_OK;
}

static bool constant(dw_text name, dw_jvalue *out)
{
    if (dw_text_is(name, "true") || dw_text_is(name, "True"))
        *out = dw_jbool(true);
    else if (dw_text_is(name, "false") || dw_text_is(name, "False"))
        *out = dw_jbool(false);
    else if (dw_text_is(name, "none") || dw_text_is(name, "None"))
        *out = dw_jnone();
    else
        return false;
    return true;
}

static dw_status parse_primary(dw_jparser *p, bool ns, dw_jnode **out)
{
    const dw_jtoken *k = dw_jparser_now(p);
    char what[80];
    dw_jnode *n = dw_jparser_node(p, DW_JN_CONST);
    *out = n;
    switch (k->kind) {
    case DW_JT_NAME:
        if (constant(k->text, &n->value)) {
            p->at++;
            return DW_OK;
        }
        n->kind = DW_JN_NAME;
        DW_TRY(dw_jparser_name(p, &n->name));
        if (!ns || !dw_jparser_skip(p, "."))
            return DW_OK;
        n->kind = DW_JN_NSREF;
        return dw_jparser_name(p, &n->attr);
    case DW_JT_STRING:
        return parse_strings(p, n);
    case DW_JT_INTEGER:
        n->value =
            k->big ? dw_jtext(k->text.ptr, k->text.len, DW_JMARK_LITERAL) : dw_jint(k->integer);
        n->value.kind = k->big ? DW_J_BIG : DW_J_INT;
        p->at++;
        return DW_OK;
    case DW_JT_FLOAT:
        n->value = dw_jfloat(k->real);
        p->at++;
        return DW_OK;
    default:
        break;
    }
    if (dw_jparser_skip(p, "(")) {
        if (dw_jparser_skip(p, ")")) {
            n->kind = DW_JN_TUPLE;
            return DW_OK;
        }
        DW_TRY(dw_jparser_tuple(p, true, NULL, out));
        return dw_jparser_want(p, ")");
    }
    if (dw_jparser_is(p, "["))
        return parse_items(p, DW_JN_LIST, "]", out);
    if (dw_jparser_is(p, "{"))
        return parse_items(p, DW_JN_DICT, "}", out);
    return dw_jparser_fail(p, "unexpected %s", dw_jparser_describe(k, what, sizeof what));
}

/* ---- postfix ---- */

static dw_status parse_one_argument(dw_jparser *p, dw_jnode **last, dw_jnode **out)
{
    dw_jnode *n = dw_jparser_node(p, DW_JN_KEYWORD), *value;
    const dw_jnode_kind before = *last ? (*last)->kind : DW_JN_CONST;
    const bool star2 = dw_jparser_skip(p, "**"), star = !star2 && dw_jparser_skip(p, "*");
    const dw_jtoken *k = dw_jparser_now(p);
    const bool keyword = !star && !star2 && k->kind == DW_JT_NAME && k[1].kind == DW_JT_OP &&
                         dw_text_is(k[1].text, "=");
    if (keyword) {
        DW_TRY(dw_jparser_name(p, &n->name));
        p->at++;
    }
    if (before == DW_JN_STAR2 || (star && before == DW_JN_STAR) ||
        (!keyword && !star && !star2 && (before == DW_JN_STAR || before == DW_JN_KEYWORD)))
        return dw_jparser_fail(p, "invalid syntax for function call expression");
    DW_TRY(dw_jparser_expression(p, true, &value));
    if (keyword || star || star2) {
        n->kind = star ? DW_JN_STAR : star2 ? DW_JN_STAR2 : DW_JN_KEYWORD;
        n->a = value;
        value = n;
    }
    *out = value;
    *last = value;
    return DW_OK;
}

static dw_status parse_arguments(dw_jparser *p, dw_jnode **list)
{
    dw_jnode **tail = list, *last = NULL, *one;
    DW_TRY(dw_jparser_want(p, "("));
    while (!dw_jparser_is(p, ")")) {
        if (*list)
            DW_TRY(dw_jparser_want(p, ","));
        if (dw_jparser_is(p, ")"))
            break;
        DW_TRY(parse_one_argument(p, &last, &one));
        append(&tail, one);
    }
    return dw_jparser_want(p, ")");
}

static dw_status parse_subscribed(dw_jparser *p, dw_jnode **out)
{
    dw_jnode *n = dw_jparser_node(p, DW_JN_SLICE), *part[3] = {NULL, NULL, NULL};
    bool slice = false;
    for (int i = 0; i < 3; i++) {
        if (!dw_jparser_is(p, ":") && !dw_jparser_is(p, "]") && !dw_jparser_is(p, ","))
            DW_TRY(dw_jparser_expression(p, true, &part[i]));
        if (i == 2 || !dw_jparser_skip(p, ":"))
            break;
        slice = true;
    }
    n->a = part[0];
    n->b = part[1];
    n->c = part[2];
    *out = slice ? n : part[0];
    return *out ? DW_OK : dw_jparser_fail(p, "an index is missing");
}

static dw_status parse_subscript(dw_jparser *p, dw_jnode *of, dw_jnode **out)
{
    dw_jnode *n = dw_jparser_node(p, DW_JN_GETITEM), *one, **tail;
    n->a = of;
    *out = n;
    if (dw_jparser_skip(p, ".")) {
        const dw_jtoken *k = dw_jparser_now(p);
        if (k->kind == DW_JT_NAME) {
            n->kind = DW_JN_GETATTR;
            return dw_jparser_name(p, &n->name);
        }
        if (k->kind != DW_JT_INTEGER)
            return dw_jparser_fail(p, "expected name or number");
        n->b = dw_jparser_node(p, DW_JN_CONST);
        n->b->value = dw_jint(k->integer);
        p->at++;
        return DW_OK;
    }
    DW_TRY(dw_jparser_want(p, "["));
    DW_TRY(parse_subscribed(p, &n->b));
    if (!dw_jparser_is(p, ","))
        return dw_jparser_want(p, "]");
    one = n->b;
    n->b = dw_jparser_node(p, DW_JN_TUPLE);
    tail = &n->b->list;
    append(&tail, one);
    while (dw_jparser_skip(p, ",")) {
        DW_TRY(parse_subscribed(p, &one));
        append(&tail, one);
    }
    return dw_jparser_want(p, "]");
}

static dw_status parse_call(dw_jparser *p, dw_jnode *of, dw_jnode **out)
{
    *out = dw_jparser_node(p, DW_JN_CALL);
    (*out)->a = of;
    return parse_arguments(p, &(*out)->list);
}

static dw_status parse_postfix(dw_jparser *p, dw_jnode **n)
{
    for (int links = 0;;) {
        DW_TRY(count_link(p, &links));
        if (dw_jparser_is(p, ".") || dw_jparser_is(p, "["))
            DW_TRY(parse_subscript(p, *n, n));
        else if (dw_jparser_is(p, "("))
            DW_TRY(parse_call(p, *n, n));
        else
            return DW_OK;
    }
}

/* a.b.c, the name of a filter or a test */
static dw_status dotted_name(dw_jparser *p, int *out)
{
    int part;
    DW_TRY(dw_jparser_name(p, out));
    while (dw_jparser_skip(p, ".")) {
        DW_TRY(dw_jparser_name(p, &part));
        const char *all =
            dw_arena_printf(&p->t->arena, "%.200s.%.200s", p->t->names[*out], p->t->names[part]);
        *out = dw_jinja_intern(p->t, all, strlen(all));
    }
    return DW_OK;
}

static dw_status parse_filter(dw_jparser *p, dw_jnode *of, dw_jnode **out)
{
    dw_jnode *n = dw_jparser_node(p, DW_JN_FILTER);
    n->a = of;
    *out = n;
    DW_TRY(dotted_name(p, &n->name));
    return dw_jparser_is(p, "(") ? parse_arguments(p, &n->list) : DW_OK;
}

dw_status dw_jparser_filters(dw_jparser *p, dw_jnode *of, bool inline_first, dw_jnode **out)
{
    int links = 0;
    *out = of;
    while (inline_first || dw_jparser_skip(p, "|")) {
        DW_TRY(count_link(p, &links));
        DW_TRY(parse_filter(p, *out, out));
        inline_first = false;
    }
    return DW_OK;
}

static bool starts_argument(const dw_jparser *p)
{
    const dw_jtoken *k = dw_jparser_now(p);
    if (k->kind == DW_JT_NAME)
        return !dw_text_is(k->text, "else") && !dw_text_is(k->text, "or") &&
               !dw_text_is(k->text, "and");
    return k->kind == DW_JT_STRING || k->kind == DW_JT_INTEGER || k->kind == DW_JT_FLOAT ||
           dw_jparser_is(p, "[") || dw_jparser_is(p, "{");
}

static dw_status parse_test(dw_jparser *p, dw_jnode *of, dw_jnode **out)
{
    p->at++; /* is */
    const bool negated = dw_jparser_skip_word(p, "not");
    dw_jnode *n = dw_jparser_node(p, DW_JN_TEST);
    n->a = of;
    *out = n;
    DW_TRY(dotted_name(p, &n->name));
    if (dw_jparser_is(p, "(")) {
        DW_TRY(parse_arguments(p, &n->list));
    } else if (starts_argument(p)) {
        if (dw_jparser_word(p, "is"))
            return dw_jparser_fail(p, "You cannot chain multiple tests with is");
        DW_TRY(dw_jparser_deeper(p));
        DW_TRY(parse_primary(p, false, &n->list));
        DW_TRY(parse_postfix(p, &n->list));
        p->depth--;
    }
    if (!negated)
        return DW_OK;
    *out = dw_jparser_node(p, DW_JN_NOT);
    (*out)->a = n;
    (*out)->line = n->line;
    (*out)->column = n->column;
    return DW_OK;
}

static dw_status parse_filter_expr(dw_jparser *p, dw_jnode **n)
{
    for (int links = 0;;) {
        DW_TRY(count_link(p, &links));
        if (dw_jparser_skip(p, "|"))
            DW_TRY(parse_filter(p, *n, n));
        else if (dw_jparser_word(p, "is"))
            DW_TRY(parse_test(p, *n, n));
        else if (dw_jparser_is(p, "("))
            DW_TRY(parse_call(p, *n, n));
        else
            return DW_OK;
    }
}

/* ---- operators, tightest first ---- */

static dw_status parse_unary(dw_jparser *p, bool with_filter, dw_jnode **out)
{
    DW_TRY(dw_jparser_deeper(p));
    const bool minus = dw_jparser_is(p, "-");
    if (minus || dw_jparser_is(p, "+")) {
        dw_jnode *n = dw_jparser_node(p, minus ? DW_JN_NEG : DW_JN_POS);
        p->at++;
        DW_TRY(parse_unary(p, false, &n->a));
        *out = n;
    } else {
        DW_TRY(parse_primary(p, false, out));
    }
    DW_TRY(parse_postfix(p, out));
    if (with_filter)
        DW_TRY(parse_filter_expr(p, out));
    p->depth--;
    return DW_OK;
}

static dw_status parse_factor(dw_jparser *p, dw_jnode **out)
{
    return parse_unary(p, true, out);
}

typedef struct operators {
    const char *sign[4];
    dw_jop op[4];
} operators;

static dw_status parse_chain(dw_jparser *p, const operators *o, parse_fn operand, dw_jnode **out)
{
    int links = 0;
    DW_TRY(operand(p, out));
    for (;;) {
        int i = 0;
        while (i < 4 && o->sign[i] && !dw_jparser_is(p, o->sign[i]))
            i++;
        if (i == 4 || !o->sign[i])
            return DW_OK;
        DW_TRY(count_link(p, &links));
        dw_jnode *n = dw_jparser_node(p, DW_JN_BINARY);
        p->at++;
        n->op = o->op[i];
        n->a = *out;
        DW_TRY(operand(p, &n->b));
        *out = n;
    }
}

static dw_status parse_power(dw_jparser *p, dw_jnode **out)
{
    static const operators o = {{"**"}, {DW_JOP_POW}};
    return parse_chain(p, &o, parse_factor, out);
}

static dw_status parse_product(dw_jparser *p, dw_jnode **out)
{
    static const operators o = {{"*", "/", "//", "%"},
                                {DW_JOP_MUL, DW_JOP_DIV, DW_JOP_FLOORDIV, DW_JOP_MOD}};
    return parse_chain(p, &o, parse_power, out);
}

static dw_status parse_concat(dw_jparser *p, dw_jnode **out)
{
    dw_jnode *n = dw_jparser_node(p, DW_JN_CONCAT), *one, **tail = &n->list;
    DW_TRY(parse_product(p, out));
    if (!dw_jparser_is(p, "~"))
        return DW_OK;
    append(&tail, *out);
    while (dw_jparser_skip(p, "~")) {
        DW_TRY(parse_product(p, &one));
        append(&tail, one);
    }
    *out = n;
    return DW_OK;
}

static dw_status parse_sum(dw_jparser *p, dw_jnode **out)
{
    static const operators o = {{"+", "-"}, {DW_JOP_ADD, DW_JOP_SUB}};
    return parse_chain(p, &o, parse_concat, out);
}

static bool comparison(dw_jparser *p, dw_jop *op)
{
    static const struct {
        const char *sign;
        dw_jop op;
    } all[] = {{"==", DW_JOP_EQ}, {"!=", DW_JOP_NE}, {"<", DW_JOP_LT},
               {"<=", DW_JOP_LE}, {">", DW_JOP_GT},  {">=", DW_JOP_GE}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (dw_jparser_skip(p, all[i].sign)) {
            *op = all[i].op;
            return true;
        }
    if (dw_jparser_skip_word(p, "in")) {
        *op = DW_JOP_IN;
        return true;
    }
    const dw_jtoken *k = dw_jparser_now(p);
    if (dw_jparser_word(p, "not") && k[1].kind == DW_JT_NAME && dw_text_is(k[1].text, "in")) {
        p->at += 2;
        *op = DW_JOP_NOTIN;
        return true;
    }
    return false;
}

static dw_status parse_compare(dw_jparser *p, dw_jnode **out)
{
    dw_jnode *n = dw_jparser_node(p, DW_JN_COMPARE), **tail = &n->list;
    dw_jop op;
    DW_TRY(parse_sum(p, out));
    n->a = *out;
    while (comparison(p, &op)) {
        dw_jnode *o = dw_jparser_node(p, DW_JN_OPERAND);
        o->op = op;
        DW_TRY(parse_sum(p, &o->a));
        append(&tail, o);
        *out = n;
    }
    return DW_OK;
}

static dw_status parse_not(dw_jparser *p, dw_jnode **out)
{
    if (!dw_jparser_word(p, "not"))
        return parse_compare(p, out);
    dw_jnode *n = dw_jparser_node(p, DW_JN_NOT);
    p->at++;
    DW_TRY(dw_jparser_deeper(p));
    DW_TRY(parse_not(p, &n->a));
    p->depth--;
    *out = n;
    return DW_OK;
}

static dw_status parse_words(dw_jparser *p, const char *word, dw_jnode_kind kind, parse_fn operand,
                             dw_jnode **out)
{
    int links = 0;
    DW_TRY(operand(p, out));
    while (dw_jparser_word(p, word)) {
        DW_TRY(count_link(p, &links));
        dw_jnode *n = dw_jparser_node(p, kind);
        p->at++;
        n->a = *out;
        DW_TRY(operand(p, &n->b));
        *out = n;
    }
    return DW_OK;
}

static dw_status parse_and(dw_jparser *p, dw_jnode **out)
{
    return parse_words(p, "and", DW_JN_AND, parse_not, out);
}

static dw_status parse_or(dw_jparser *p, dw_jnode **out)
{
    return parse_words(p, "or", DW_JN_OR, parse_and, out);
}

dw_status dw_jparser_expression(dw_jparser *p, bool with_cond, dw_jnode **out)
{
    int links = 0;
    DW_TRY(dw_jparser_deeper(p));
    DW_TRY(parse_or(p, out));
    while (with_cond && dw_jparser_word(p, "if")) {
        DW_TRY(count_link(p, &links));
        dw_jnode *n = dw_jparser_node(p, DW_JN_COND);
        p->at++;
        n->a = *out;
        DW_TRY(parse_or(p, &n->b));
        if (dw_jparser_skip_word(p, "else"))
            DW_TRY(dw_jparser_expression(p, true, &n->c));
        *out = n;
    }
    p->depth--;
    return DW_OK;
}

static bool tuple_ends(const dw_jparser *p, const char *end)
{
    const dw_jtoken *k = dw_jparser_now(p);
    return k->kind == DW_JT_VARIABLE_END || k->kind == DW_JT_BLOCK_END || dw_jparser_is(p, ")") ||
           (end && dw_jparser_word(p, end));
}

static dw_status parse_list(dw_jparser *p, bool target, bool with_cond, bool ns, const char *end,
                            dw_jnode **out)
{
    dw_jnode *n = dw_jparser_node(p, DW_JN_TUPLE), *one, **tail = &n->list;
    bool tuple = false;
    char what[80];
    for (;;) {
        if (tuple_ends(p, end))
            break;
        DW_TRY(target ? parse_primary(p, ns, &one) : dw_jparser_expression(p, with_cond, &one));
        append(&tail, one);
        if (!dw_jparser_skip(p, ","))
            break;
        tuple = true;
    }
    *out = tuple ? n : n->list;
    if (!*out)
        return dw_jparser_fail(p, "Expected an expression, got %s",
                               dw_jparser_describe(dw_jparser_now(p), what, sizeof what));
    return DW_OK;
}

dw_status dw_jparser_tuple(dw_jparser *p, bool with_cond, const char *end, dw_jnode **out)
{
    return parse_list(p, false, with_cond, false, end, out);
}

static bool can_assign(const dw_jnode *n)
{
    if (n->kind == DW_JN_TUPLE)
        for (const dw_jnode *c = n->list; c; c = c->next)
            if (!can_assign(c))
                return false;
    return n->kind == DW_JN_TUPLE || n->kind == DW_JN_NAME || n->kind == DW_JN_NSREF;
}

dw_status dw_jparser_target(dw_jparser *p, const char *end, bool ns, dw_jnode **out)
{
    DW_TRY(parse_list(p, true, false, ns, end, out));
    return can_assign(*out) ? DW_OK : dw_jparser_fail(p, "this cannot be assigned to");
}
