/* Builds a row's tree while the strict scan passes over it: the nodes are cJSON's, as cJSON itself
 * would have made them, but lie in one block. */
#include "base/json_build.h"

#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/alloc.h"
#include "base/json_scan.h"

enum {
    BUILT = 1 << 20, /* in a root's type: beside the kinds and flags of cJSON */
    ROOM = 1024,     /* for nodes beside the text; more comes in further blocks */
    EXACT_DIGITS = 15,
    EXACT_POWER = 22,
};

typedef struct block {
    struct block *next;
    size_t used, size;
    _Alignas(16) char bytes[];
} block;

/* The first block starts with it. */
typedef struct tree {
    block *more;
    cJSON root;
} tree;

typedef struct builder {
    tree *t;
    block *b; /* memory is taken here */
    int depth;
    cJSON *open[DW_JSON_DEPTH_ROW + 1]; /* containers, innermost last */
    cJSON *last[DW_JSON_DEPTH_ROW + 1]; /* their newest members */
    char *key;                          /* of the next value, or NULL */
    dw_buf word;
} builder;

static void *take(builder *w, size_t n)
{
    n = (n + 7) & ~(size_t)7;
    if (w->b->size - w->b->used < n) {
        size_t size = 2 * w->b->size > n ? 2 * w->b->size : n;
        block *b = dw_alloc(sizeof *b + size);
        *b = (block){.next = w->b, .size = size};
        w->b = b;
    }
    void *p = w->b->bytes + w->b->used;
    w->b->used += n;
    return p;
}

/* What a string literal stands for, with a NUL behind; *len is without it. */
static char *text_of(builder *w, const char *p, size_t n, bool escaped, size_t *len)
{
    char *out = take(w, n + 1);
    if (escaped)
        n = dw_json_unescape_to(p, n, out);
    else if (n)
        memcpy(out, p, n);
    out[n] = 0;
    *len = n;
    return out;
}

/* A number of few digits is a quotient of two exact doubles, so one division rounds it as strtod
 * would; the rest strtod reads. */
static double number_of(builder *w, const char *p, size_t n)
{
    static const double power[EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    int64_t x = 0;
    size_t digits = 0, behind = 0;
    bool point = false, easy = n <= EXACT_DIGITS + 2;
    for (size_t i = p[0] == '-'; i < n && easy; i++) {
        easy = p[i] == '.' || (p[i] >= '0' && p[i] <= '9');
        if (p[i] == '.') {
            point = true;
            continue;
        }
        x = x * 10 + (p[i] - '0');
        digits++;
        behind += point;
    }
    if (easy && digits <= EXACT_DIGITS)
        return (p[0] == '-' ? -(double)x : (double)x) / power[behind];
    dw_buf_clear(&w->word);
    dw_buf_add(&w->word, p, n);
    return strtod(w->word.ptr, NULL);
}

/* A node in its place: the root, or the next member of the container that is open. */
static cJSON *add(builder *w, int type)
{
    if (!w->depth) {
        w->t->root.type = type | BUILT;
        return &w->t->root;
    }
    cJSON *v = take(w, sizeof *v), *in = w->open[w->depth - 1], **last = &w->last[w->depth - 1];
    *v = (cJSON){.type = type, .string = w->key, .prev = *last};
    w->key = NULL;
    if (*last)
        (*last)->next = v;
    else
        in->child = v;
    *last = v;
    return v;
}

static void put_number(builder *w, const char *p, size_t n)
{
    cJSON *v = add(w, cJSON_Number);
    v->valuedouble = number_of(w, p, n);
    size_t len;
    if (dw_json_odd_number(p, n))
        v->valuestring = text_of(w, p, n, false, &len);
}

static void part(void *ctx, char kind, const char *p, size_t n, bool escaped)
{
    builder *w = ctx;
    cJSON *v;
    size_t len;
    switch (kind) {
    case '{':
    case '[':
        v = add(w, kind == '{' ? cJSON_Object : cJSON_Array);
        w->open[w->depth] = v;
        w->last[w->depth++] = NULL;
        break;
    case '}':
    case ']':
        w->depth--;
        break;
    case 'k':
        w->key = text_of(w, p, n, escaped, &len);
        break;
    case 's':
        v = add(w, cJSON_String);
        v->valuestring = text_of(w, p, n, escaped, &len);
        v->valuedouble = (double)len;
        break;
    case '0':
        put_number(w, p, n);
        break;
    default:
        add(w, kind == 't' ? cJSON_True : kind == 'f' ? cJSON_False : cJSON_NULL);
    }
}

dw_status dw_json_parse_row(const char *text, size_t n, int max_depth, int first_line,
                            dw_json **out, dw_err *err)
{
    dw_assert(max_depth <= DW_JSON_DEPTH_ROW);
    size_t size = sizeof(tree) + n + ROOM;
    block *first = dw_alloc(sizeof *first + size);
    *first = (block){.size = size};
    builder w = {.b = first};
    w.t = take(&w, sizeof *w.t);
    *w.t = (tree){0};
    dw_status st = dw_json_scan_into((dw_json_sink){part, &w}, text, n, max_depth, first_line, err);
    dw_buf_finish(&w.word);
    w.t->more = w.b;
    *out = (dw_json *)(void *)&w.t->root;
    if (st) {
        w.t->root.type |= BUILT;
        dw_json_free(*out);
        *out = NULL;
    }
    return st;
}

bool dw_json_build_free(dw_json *root)
{
    cJSON *v = (cJSON *)(void *)root;
    if (!v || !(v->type & BUILT))
        return false;
    tree *t = (tree *)(void *)((char *)v - offsetof(tree, root));
    for (block *b = t->more, *next; b; b = next) {
        next = b->next;
        dw_free(b);
    }
    return true;
}
