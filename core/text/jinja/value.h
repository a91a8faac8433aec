/* Values of a template: Python's, as far as templates see them. Strings know byte by byte where
 * they came from, and keep it through every operation. Private to text/. */
#ifndef DW_TEXT_JINJA_VALUE_H
#define DW_TEXT_JINJA_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

typedef struct dw_jrun dw_jrun;

enum {
    DW_JMARK_LITERAL = 1,   /* the template wrote it, or a special token's own name */
    DW_JMARK_ASSISTANT = 2, /* written inside {% generation %} */
};

typedef struct dw_jstr {
    const char *ptr;           /* UTF-8; lives as long as the run, the template or the request */
    const unsigned char *mark; /* [len], or NULL: every byte has `tag` */
    uint32_t len;
    uint8_t tag;
    bool markup; /* Markup of |safe and |escape: adding a plain string to it escapes that */
} dw_jstr;

typedef enum dw_jkind {
    DW_J_MISSING, /* no value at all: a slot or an argument that was not given */
    DW_J_UNDEFINED,
    DW_J_NONE,
    DW_J_BOOL,
    DW_J_INT,
    DW_J_BIG, /* an integer of the request beyond 64 bits: its digits, in s */
    DW_J_FLOAT,
    DW_J_STR,
    DW_J_LIST,
    DW_J_TUPLE,
    DW_J_GENERATOR, /* what map, select and their like give: gone once read */
    DW_J_VIEW,      /* keys(), values(), items() of a dict */
    DW_J_RANGE,
    DW_J_DICT,
    DW_J_NAMESPACE,
    DW_J_FUNCTION,
    DW_J_METHOD,
    DW_J_MACRO,
    DW_J_LOOP,
    DW_J_CYCLER,
    DW_J_JOINER,
} dw_jkind;

typedef struct dw_jvalue dw_jvalue;
typedef struct dw_jdict dw_jdict;
typedef struct dw_jmethod dw_jmethod;
typedef struct dw_jmacro dw_jmacro;
typedef struct dw_jloop dw_jloop;

/* Items may be shared by several lists: no operation changes a list that a template can see. */
typedef struct dw_jlist {
    dw_jvalue *item;
    size_t n;
    size_t at;        /* of a generator: how many were read; of a cycler or joiner: its position */
    const char *name; /* of a view: "dict_items" */
} dw_jlist;

typedef struct dw_jrange {
    int64_t start, step, n, stop;
} dw_jrange;

typedef enum dw_jwhy { DW_JWHY_NAME, DW_JWHY_ATTRIBUTE, DW_JWHY_HINT, DW_JWHY_UNSAFE } dw_jwhy;
typedef struct dw_jundef {
    const char *name; /* NUL-terminated; the whole message for DW_JWHY_HINT */
    dw_jwhy why;
    dw_jkind of; /* what had no such attribute */
} dw_jundef;

struct dw_jvalue {
    dw_jkind kind;
    union {
        bool b;
        int64_t i;
        double f;
        dw_jstr s;
        dw_jlist *list;
        dw_jrange *range;
        dw_jdict *dict;
        dw_jundef undef;
        int function;
        dw_jmethod *method;
        dw_jmacro *macro;
        dw_jloop *loop;
    };
};

typedef struct dw_jpair {
    dw_jvalue key, value;
} dw_jpair;
struct dw_jdict {
    dw_jpair *pair; /* in the order in which the keys came */
    size_t n, cap;
};

struct dw_jmethod { /* bound */
    dw_jvalue self;
    const char *name;
};

static inline dw_jvalue dw_jnone(void)
{
    return (dw_jvalue){.kind = DW_J_NONE};
}
static inline dw_jvalue dw_jbool(bool b)
{
    return (dw_jvalue){.kind = DW_J_BOOL, .b = b};
}
static inline dw_jvalue dw_jint(int64_t i)
{
    return (dw_jvalue){.kind = DW_J_INT, .i = i};
}
static inline dw_jvalue dw_jfloat(double f)
{
    return (dw_jvalue){.kind = DW_J_FLOAT, .f = f};
}
static inline dw_jvalue dw_jstring(dw_jstr s)
{
    return (dw_jvalue){.kind = DW_J_STR, .s = s};
}
/* A string whose bytes are all of one origin and live long enough. */
static inline dw_jvalue dw_jtext(const char *ptr, size_t len, uint8_t tag)
{
    return dw_jstring((dw_jstr){.ptr = ptr, .len = (uint32_t)len, .tag = tag});
}
dw_jvalue dw_jundefined(dw_jwhy why, dw_jkind of, const char *name);

/* ---- questions ---- */
const char *dw_jtype(const dw_jvalue *v); /* Python's type name: "str", "list" */
bool dw_jvalue_truth(const dw_jvalue *v);
bool dw_jvalue_is_number(const dw_jvalue *v); /* bool, int, float */
double dw_jvalue_number(const dw_jvalue *v);
dw_status dw_jvalue_equal(dw_jrun *r, const dw_jvalue *a, const dw_jvalue *b, bool *out);
/* Below 0, 0, above 0; types that Python does not order are an error. op: "<" for the message. */
dw_status dw_jvalue_compare(dw_jrun *r, const dw_jvalue *a, const dw_jvalue *b, const char *op,
                            int *out);
/* item in box */
dw_status dw_jvalue_contains(dw_jrun *r, const dw_jvalue *box, const dw_jvalue *item, bool *out);
/* len(v), in characters for strings; false where Python raises TypeError. */
dw_status dw_jvalue_length(dw_jrun *r, const dw_jvalue *v, int64_t *out, bool *has);

/* ---- making ---- */
dw_status dw_jlist_new(dw_jrun *r, dw_jkind kind, size_t n, dw_jvalue *out); /* items: missing */
dw_status dw_jdict_new(dw_jrun *r, dw_jkind kind, dw_jvalue *out);
dw_status dw_jdict_set(dw_jrun *r, dw_jdict *d, dw_jvalue key, dw_jvalue value);
/* NULL in *out: no such key. */
dw_status dw_jdict_find(dw_jrun *r, const dw_jdict *d, const dw_jvalue *key, dw_jvalue **out);
dw_jvalue *dw_jdict_get(const dw_jdict *d, const char *key); /* a string key, or NULL */
/* The value of a JSON node; its strings are borrowed and marked with `tag`. */
dw_status dw_jvalue_from_json(dw_jrun *r, const dw_json *v, uint8_t tag, dw_jvalue *out);

/* Reads any iterable from the front. Zero-initialised by dw_jiter_start. */
typedef struct dw_jiter {
    dw_jvalue of;
    size_t at; /* byte of a string, index of everything else */
} dw_jiter;
/* An error where Python says that the value is not iterable. */
dw_status dw_jiter_start(dw_jrun *r, const dw_jvalue *v, dw_jiter *out);
dw_status dw_jiter_next(dw_jrun *r, dw_jiter *it, dw_jvalue *out, bool *more);
bool dw_jiter_can(const dw_jvalue *v);
/* Everything that is left, as a new list. */
dw_status dw_jiter_list(dw_jrun *r, const dw_jvalue *v, dw_jvalue *out);

#endif
