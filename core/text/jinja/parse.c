/* Statements of a template: tokens to a tree. */
#include "text/jinja/parser.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "text/jinja/run.h"

/* ---- what expressions need as well ---- */

void dw_jparser_complain(dw_jparser *p, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    const dw_jtoken *k = dw_jparser_now(p);
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    dw_err_set(p->err, "%s:%u:%u: %s", p->t->name, k->line, k->column, text);
}

const dw_jtoken *dw_jparser_now(const dw_jparser *p)
{
    return &p->token[p->at];
}

const char *dw_jparser_describe(const dw_jtoken *k, char *out, size_t n)
{
    switch (k->kind) {
    case DW_JT_END:
        return "end of template";
    case DW_JT_DATA:
        return "text";
    case DW_JT_STRING:
        return "a string";
    default:
        snprintf(out, n, "'%.*s'", k->text.len < 60 ? (int)k->text.len : 60, k->text.ptr);
        return out;
    }
}

bool dw_jparser_is(const dw_jparser *p, const char *op)
{
    const dw_jtoken *k = dw_jparser_now(p);
    return k->kind == DW_JT_OP && dw_text_is(k->text, op);
}

bool dw_jparser_word(const dw_jparser *p, const char *name)
{
    const dw_jtoken *k = dw_jparser_now(p);
    return k->kind == DW_JT_NAME && dw_text_is(k->text, name);
}

bool dw_jparser_skip(dw_jparser *p, const char *op)
{
    const bool is = dw_jparser_is(p, op);
    p->at += is;
    return is;
}

bool dw_jparser_skip_word(dw_jparser *p, const char *name)
{
    const bool is = dw_jparser_word(p, name);
    p->at += is;
    return is;
}

dw_status dw_jparser_want(dw_jparser *p, const char *op)
{
    char what[80];
    if (dw_jparser_skip(p, op))
        return DW_OK;
    return dw_jparser_fail(p, "expected '%s', got %s", op,
                           dw_jparser_describe(dw_jparser_now(p), what, sizeof what));
}

dw_status dw_jparser_name(dw_jparser *p, int *out)
{
    char what[80];
    const dw_jtoken *k = dw_jparser_now(p);
    if (k->kind != DW_JT_NAME)
        return dw_jparser_fail(p, "expected a name, got %s",
                               dw_jparser_describe(k, what, sizeof what));
    *out = dw_jinja_intern(p->t, k->text.ptr, k->text.len);
    p->at++;
    return DW_OK;
}

dw_jnode *dw_jparser_node(dw_jparser *p, dw_jnode_kind kind)
{
    const dw_jtoken *k = dw_jparser_now(p);
    dw_jnode *n = dw_arena_alloc(&p->t->arena, sizeof *n);
    n->kind = kind;
    n->line = k->line;
    n->column = k->column;
    return n;
}

dw_status dw_jparser_deeper(dw_jparser *p)
{
    /* An expression in brackets takes two levels, and stands in a block. */
    if (++p->depth > 3 * DW_JLIMIT_NESTING)
        return dw_jparser_fail(p, "nested deeper than %d", DW_JLIMIT_NESTING);
    return DW_OK;
}

/* ---- blocks ---- */

static dw_status parse_statement(dw_jparser *p, dw_jnode **out);

static dw_status block_end(dw_jparser *p)
{
    char what[80];
    const dw_jtoken *k = dw_jparser_now(p);
    if (k->kind != DW_JT_BLOCK_END)
        return dw_jparser_fail(p, "expected the end of the tag, got %s",
                               dw_jparser_describe(k, what, sizeof what));
    p->at++;
    return DW_OK;
}

static bool is_end(const dw_jparser *p, const char *const *ends)
{
    for (; ends && *ends; ends++)
        if (dw_jparser_word(p, *ends))
            return true;
    return false;
}

static dw_status unknown_tag(dw_jparser *p, const dw_jtoken *k)
{
    char wait[160] = "";
    size_t n = 0;
    for (const char *const *e = p->n_open ? p->ends[p->n_open - 1] : NULL; e && *e; e++)
        n += (size_t)snprintf(wait + n, sizeof wait - n, "%s'%s'", n ? " or " : "", *e);
    if (k->kind == DW_JT_END)
        return dw_jparser_fail(p, "unexpected end of template: %s waits for %s",
                               p->open[p->n_open - 1], wait);
    return dw_jparser_fail(p, "unknown tag '%.*s'%s%s%s%s",
                           k->text.len < 60 ? (int)k->text.len : 60, k->text.ptr, n ? ": " : "",
                           n ? p->open[p->n_open - 1] : "", n ? " waits for " : "", wait);
}

/* Up to one of the tags `ends`, which is left standing behind its {%. */
static dw_status parse_until(dw_jparser *p, const char *const *ends, dw_jnode **list)
{
    dw_jnode **tail = list;
    for (;;) {
        const dw_jtoken *k = dw_jparser_now(p);
        dw_jnode *n = NULL;
        if (k->kind == DW_JT_END)
            return ends ? unknown_tag(p, k) : DW_OK;
        if (k->kind == DW_JT_DATA) {
            n = dw_jparser_node(p, DW_JN_DATA);
            n->value = dw_jtext(k->text.ptr, k->text.len, DW_JMARK_LITERAL);
            p->at++;
        } else if (k->kind == DW_JT_VARIABLE_BEGIN) {
            n = dw_jparser_node(p, DW_JN_PRINT);
            p->at++;
            DW_TRY(dw_jparser_tuple(p, true, NULL, &n->a));
            if (dw_jparser_now(p)->kind != DW_JT_VARIABLE_END) {
                char what[80];
                return dw_jparser_fail(p, "expected '}}', got %s",
                                       dw_jparser_describe(dw_jparser_now(p), what, sizeof what));
            }
            p->at++;
        } else {
            p->at++;
            if (is_end(p, ends))
                return DW_OK;
            DW_TRY(parse_statement(p, &n));
            DW_TRY(block_end(p));
        }
        *tail = n;
        while (n && n->next)
            n = n->next;
        tail = n ? &n->next : tail;
    }
}

/* The body of a block: from the end of its tag. */
static dw_status parse_body(dw_jparser *p, const char *what, const char *const *ends,
                            dw_jnode **list)
{
    (void)dw_jparser_skip(p, ":");
    DW_TRY(block_end(p));
    if (p->n_open == DW_JLIMIT_NESTING)
        return dw_jparser_fail(p, "blocks nested deeper than %d", DW_JLIMIT_NESTING);
    p->ends[p->n_open] = ends;
    p->open[p->n_open++] = what;
    DW_TRY(parse_until(p, ends, list));
    p->n_open--;
    return DW_OK;
}

/* The same for a block with one ending, which is read. */
static dw_status parse_whole(dw_jparser *p, const char *what, const char *end, dw_jnode **list)
{
    const char *const *ends = dw_arena_alloc(&p->t->arena, 2 * sizeof(char *));
    ((const char **)(uintptr_t)ends)[0] = end;
    DW_TRY(parse_body(p, what, ends, list));
    p->at++;
    return DW_OK;
}

static dw_status parse_if(dw_jparser *p, dw_jnode **out)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    dw_jnode *n = dw_jparser_node(p, DW_JN_IF), **slot = out;
    for (;;) {
        p->at++; /* if, elif */
        DW_TRY(dw_jparser_tuple(p, false, NULL, &n->a));
        DW_TRY(parse_body(p, "if", ends, &n->list));
        *slot = n;
        slot = &n->other;
        if (!dw_jparser_word(p, "elif"))
            break;
        n->flag = true; /* what stands in other is the next arm */
        n = dw_jparser_node(p, DW_JN_IF);
    }
    const bool has_else = dw_jparser_word(p, "else");
    p->at++;
    return has_else ? parse_whole(p, "else", "endif", slot) : DW_OK;
}

static dw_status parse_for(dw_jparser *p, dw_jnode **out)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    dw_jnode *n = dw_jparser_node(p, DW_JN_FOR);
    *out = n;
    p->at++;
    DW_TRY(dw_jparser_target(p, "in", false, &n->a));
    if (!dw_jparser_skip_word(p, "in"))
        return dw_jparser_fail(p, "expected 'in'");
    DW_TRY(dw_jparser_tuple(p, false, "recursive", &n->b));
    if (dw_jparser_skip_word(p, "if"))
        DW_TRY(dw_jparser_expression(p, true, &n->c));
    n->flag = dw_jparser_skip_word(p, "recursive");
    p->loops++;
    DW_TRY(parse_body(p, "for", ends, &n->list));
    p->loops--;
    const bool has_else = dw_jparser_word(p, "else");
    p->at++;
    return has_else ? parse_whole(p, "else", "endfor", &n->other) : DW_OK;
}

static dw_status parse_set(dw_jparser *p, dw_jnode **out)
{
    dw_jnode *n = dw_jparser_node(p, DW_JN_SET);
    *out = n;
    p->at++;
    DW_TRY(dw_jparser_target(p, NULL, true, &n->a));
    if (dw_jparser_skip(p, "="))
        return dw_jparser_tuple(p, true, NULL, &n->b);
    n->kind = DW_JN_SET_BLOCK;
    DW_TRY(dw_jparser_filters(p, dw_jparser_node(p, DW_JN_BODY), false, &n->b));
    return parse_whole(p, "set", "endset", &n->list);
}

static dw_status parse_signature(dw_jparser *p, dw_jnode **list)
{
    dw_jnode **tail = list;
    bool defaults = false;
    DW_TRY(dw_jparser_want(p, "("));
    while (!dw_jparser_is(p, ")")) {
        if (*list)
            DW_TRY(dw_jparser_want(p, ","));
        dw_jnode *n = dw_jparser_node(p, DW_JN_KEYWORD);
        DW_TRY(dw_jparser_name(p, &n->name));
        if (dw_jparser_skip(p, "=")) {
            DW_TRY(dw_jparser_expression(p, true, &n->a));
            defaults = true;
        } else if (defaults) {
            return dw_jparser_fail(p, "non-default argument follows default argument");
        }
        *tail = n;
        tail = &n->next;
    }
    return dw_jparser_want(p, ")");
}

/* A body that is a function of its own: no break out of it. */
static dw_status parse_function(dw_jparser *p, const char *what, const char *end, dw_jnode *n)
{
    const int loops = p->loops;
    p->loops = 0;
    DW_TRY(parse_whole(p, what, end, &n->list));
    p->loops = loops;
    return DW_OK;
}

static dw_status parse_macro(dw_jparser *p, dw_jnode **out)
{
    dw_jnode *n = dw_jparser_node(p, DW_JN_MACRO);
    *out = n;
    p->at++;
    DW_TRY(dw_jparser_name(p, &n->name));
    DW_TRY(parse_signature(p, &n->other));
    return parse_function(p, "macro", "endmacro", n);
}

static dw_status parse_call_block(dw_jparser *p, dw_jnode **out)
{
    dw_jnode *n = dw_jparser_node(p, DW_JN_CALL_BLOCK);
    *out = n;
    p->at++;
    if (dw_jparser_is(p, "("))
        DW_TRY(parse_signature(p, &n->other));
    DW_TRY(dw_jparser_expression(p, true, &n->a));
    if (n->a->kind != DW_JN_CALL)
        return dw_jparser_fail(p, "expected a call");
    return parse_function(p, "call", "endcall", n);
}

static dw_status parse_generation(dw_jparser *p, dw_jnode **out)
{
    *out = dw_jparser_node(p, DW_JN_GENERATION);
    p->at++;
    p->t->has_generation = true;
    return parse_function(p, "generation", "endgeneration", *out);
}

static dw_status parse_filter_block(dw_jparser *p, dw_jnode **out)
{
    dw_jnode *n = dw_jparser_node(p, DW_JN_FILTER_BLOCK);
    *out = n;
    p->at++;
    DW_TRY(dw_jparser_filters(p, dw_jparser_node(p, DW_JN_BODY), true, &n->b));
    return parse_whole(p, "filter", "endfilter", &n->list);
}

static dw_status parse_with(dw_jparser *p, dw_jnode **out)
{
    dw_jnode *n = dw_jparser_node(p, DW_JN_WITH), **tail = &n->other;
    *out = n;
    p->at++;
    while (dw_jparser_now(p)->kind != DW_JT_BLOCK_END) {
        dw_jnode *s = dw_jparser_node(p, DW_JN_SET);
        if (n->other)
            DW_TRY(dw_jparser_want(p, ","));
        DW_TRY(dw_jparser_target(p, NULL, false, &s->a));
        DW_TRY(dw_jparser_want(p, "="));
        DW_TRY(dw_jparser_expression(p, true, &s->b));
        *tail = s;
        tail = &s->next;
    }
    return parse_whole(p, "with", "endwith", &n->list);
}

static dw_status parse_print(dw_jparser *p, dw_jnode **out)
{
    dw_jnode **tail = out;
    p->at++;
    while (dw_jparser_now(p)->kind != DW_JT_BLOCK_END) {
        if (*out)
            DW_TRY(dw_jparser_want(p, ","));
        dw_jnode *n = dw_jparser_node(p, DW_JN_PRINT);
        DW_TRY(dw_jparser_expression(p, true, &n->a));
        *tail = n;
        tail = &n->next;
    }
    return DW_OK;
}

static dw_status parse_jump(dw_jparser *p, dw_jnode **out)
{
    *out = dw_jparser_node(p, dw_jparser_word(p, "break") ? DW_JN_BREAK : DW_JN_CONTINUE);
    if (!p->loops)
        return dw_jparser_fail(p, "a break or continue outside of a loop");
    p->at++;
    return DW_OK;
}

static const struct statement {
    const char *name;
    dw_status (*fn)(dw_jparser *p, dw_jnode **out);
} statements[] = {
    {"if", parse_if},
    {"for", parse_for},
    {"set", parse_set},
    {"macro", parse_macro},
    {"call", parse_call_block},
    {"generation", parse_generation},
    {"filter", parse_filter_block},
    {"with", parse_with},
    {"print", parse_print},
    {"break", parse_jump},
    {"continue", parse_jump},
    /* What would read other templates, or belongs to inheritance. */
    {"include", NULL},
    {"import", NULL},
    {"from", NULL},
    {"extends", NULL},
    {"block", NULL},
    {"autoescape", NULL},
};

static dw_status parse_statement(dw_jparser *p, dw_jnode **out)
{
    const dw_jtoken *k = dw_jparser_now(p);
    if (k->kind != DW_JT_NAME)
        return dw_jparser_fail(p, "tag name expected");
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        const struct statement *s = &statements[i];
        if (!dw_text_is(k->text, s->name))
            continue;
        return s->fn
                   ? s->fn(p, out)
                   : dw_jparser_fail(p, "{%% %s %%} is not supported in a chat template", s->name);
    }
    return unknown_tag(p, k);
}

/* ---- the whole ---- */

int dw_jinja_intern(dw_jinja *t, const char *s, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)s[i]) * 16777619u;
    int *bucket = &t->bucket[(h ^ h >> 16) % (sizeof t->bucket / sizeof *t->bucket)];
    for (int i = *bucket - 1; i >= 0; i = t->chain[i])
        if (strlen(t->names[i]) == n && !memcmp(t->names[i], s, n))
            return i;
    DW_GROW(t->chain, t->n_names, t->cap_chain);
    DW_GROW(t->names, t->n_names, t->cap_names);
    t->names[t->n_names] = dw_arena_strndup(&t->arena, s, n);
    t->chain[t->n_names] = *bucket - 1;
    *bucket = (int)++t->n_names; /* one more than the index: 0 is none */
    return *bucket - 1;
}

static dw_status parse(dw_jinja *t, dw_text source, dw_err *err)
{
    dw_jtoken *token;
    size_t n;
    if (source.len > DW_JLIMIT_SOURCE)
        return dw_fail(err, DW_E_LIMIT, "%s: a template of %zu bytes (at most %d)", t->name,
                       source.len, DW_JLIMIT_SOURCE);
    if (!dw_utf8_valid(source.ptr, source.len))
        return dw_fail(err, DW_E_INPUT, "%s: the template is not UTF-8", t->name);
    DW_TRY(dw_jlex_run(t, source, &token, &n, err));
    dw_jparser p = {.t = t, .err = err, .token = token};
    t->n_loop = dw_jinja_intern(t, "loop", 4);
    t->n_caller = dw_jinja_intern(t, "caller", 6);
    t->n_kwargs = dw_jinja_intern(t, "kwargs", 6);
    t->n_varargs = dw_jinja_intern(t, "varargs", 7);
    DW_TRY(parse_until(&p, NULL, &t->body));
    return dw_jscope_resolve(t, err);
}

dw_status dw_jinja_parse(dw_text source, const char *name, dw_jinja **out, dw_err *err)
{
    dw_jinja *t = dw_zalloc(1, sizeof *t);
    t->name = dw_arena_strdup(&t->arena, name);
    const dw_status st = parse(t, source, err);
    if (st) {
        dw_jinja_free(t);
        t = NULL;
    }
    *out = t;
    return st;
}

void dw_jinja_free(dw_jinja *t)
{
    if (!t)
        return;
    dw_arena_finish(&t->arena);
    dw_free(t->names);
    dw_free(t->chain);
    dw_free(t);
}

bool dw_jinja_has_generation(const dw_jinja *t)
{
    return t->has_generation;
}

bool dw_jinja_mentions(const dw_jinja *t, const char *word)
{
    return memmem(t->source.ptr, t->source.len, word, strlen(word)) != NULL;
}
