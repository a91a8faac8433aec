/* One rendering: its memory, its limits, its output. Private to text/. */
#ifndef DW_TEXT_JINJA_RUN_H
#define DW_TEXT_JINJA_RUN_H

#include "text/jinja/jinja.h"
#include "text/jinja/value.h"

enum {
    DW_JLIMIT_STEPS = 1000000,
    DW_JLIMIT_NESTING = 64,      /* blocks and brackets of the source, macros in macros */
    DW_JLIMIT_DEPTH = 1500,      /* C calls of the tree walk */
    DW_JLIMIT_VALUE_DEPTH = 300, /* lists in lists */
    DW_JLIMIT_OUTPUT = 8 << 20,  /* bytes of text */
    DW_JLIMIT_MEMORY = 64 << 20, /* bytes of everything */
    DW_JLIMIT_RANGE = 100000,    /* jinja2's sandbox says so */
    DW_JLIMIT_SOURCE = 1 << 20,  /* bytes of a template */
    DW_JSTEP_BYTES = 512,        /* text handled for one step */
};

typedef struct dw_jnode dw_jnode;
typedef struct dw_jframe dw_jframe;

/* Text that grows, with its marks. */
typedef struct dw_jout {
    char *ptr;
    unsigned char *mark;
    size_t len, cap;
} dw_jout;

struct dw_jrun {
    const dw_jinja *t;
    dw_err *err;
    const dw_jnode *at; /* what is being worked out; its place goes into messages */
    bool placed;        /* the message names its place already */
    int64_t fuel;
    int depth, calls;
    size_t memory; /* bytes held */
    struct dw_jchunk *chunk, *text_chunk;
    dw_jout out;
    uint8_t speaking; /* DW_JMARK_ASSISTANT inside {% generation %} */
    dw_jdict *context;
    dw_jframe *frame;
    dw_jvalue body; /* of the block whose filters are at work */
};

/* Sets the message, "NAME:LINE:COLUMN: ..." of the node at work, and gives the status. */
#define dw_jfail(r, status, ...) (dw_jrun_complain((r), __VA_ARGS__), dw_failed(status))
__attribute__((format(printf, 2, 3))) void dw_jrun_complain(dw_jrun *r, const char *fmt, ...);

dw_status dw_jrun_spend(dw_jrun *r, size_t steps);
/* Handling n bytes of text or n list items costs steps as well. */
static inline dw_status dw_jrun_spend_bytes(dw_jrun *r, size_t n)
{
    return n < DW_JSTEP_BYTES ? DW_OK : dw_jrun_spend(r, n / DW_JSTEP_BYTES);
}

/* Zeroed, 16-byte aligned, lives as long as the run. NULL, with the message set, when the limit is
 * reached. */
void *dw_jrun_alloc(dw_jrun *r, size_t bytes);
void dw_jrun_finish(dw_jrun *r);

/* ---- output ---- */
dw_status dw_jrun_write(dw_jrun *r, const dw_jstr *s);
/* The text written since it was `from` bytes long, as a string; taken out of the output. */
dw_status dw_jrun_cut(dw_jrun *r, size_t from, dw_jvalue *out);

/* ---- strings ---- */
/* A string being put together. Zero-initialise; the result of dw_jbuild_done lives with the run. */
typedef struct dw_jbuild {
    char *ptr;
    unsigned char *mark;
    size_t len, cap;
} dw_jbuild;
dw_status dw_jbuild_add(dw_jrun *r, dw_jbuild *b, const char *p, size_t n, uint8_t tag);
dw_status dw_jbuild_str(dw_jrun *r, dw_jbuild *b, const dw_jstr *s);
dw_jvalue dw_jbuild_done(dw_jrun *r, dw_jbuild *b);
dw_status dw_jbuild_concat(dw_jrun *r, const dw_jstr *a, const dw_jstr *b, dw_jvalue *out);
/* A part of s, sharing its bytes. */
dw_jstr dw_jstr_part(const dw_jstr *s, size_t from, size_t to);
static inline uint8_t dw_jstr_mark(const dw_jstr *s, size_t at)
{
    return s->mark ? s->mark[at] : s->tag;
}
/* Copies of C strings in the run's memory; NULL when the limit is reached. */
const char *dw_jrun_strndup(dw_jrun *r, const char *s, size_t n);

#endif
