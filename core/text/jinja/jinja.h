/* Jinja templates as chat templates use them: what jinja2 makes of them in the environment that
 * transformers sets up, byte for byte, within limits. Nothing but the given variables can be read,
 * and nothing can be changed. Private to text/. */
#ifndef DW_TEXT_JINJA_JINJA_H
#define DW_TEXT_JINJA_JINJA_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

typedef struct dw_jinja dw_jinja; /* a template, parsed; immutable, any thread */
typedef struct dw_jrun dw_jrun;

/* The text is copied. Messages are "NAME:LINE:COLUMN: ..." (from 1; columns in bytes). */
dw_status dw_jinja_parse(dw_text source, const char *name, dw_jinja **out, dw_err *err);
void dw_jinja_free(dw_jinja *t);                 /* accepts NULL */
bool dw_jinja_has_generation(const dw_jinja *t); /* {% generation %} stands somewhere in it */
bool dw_jinja_mentions(const dw_jinja *t, const char *word); /* the source holds it */

/* Puts the variables into a run (dw_jinja_set in run.h's terms: values of value.h). */
typedef dw_status (*dw_jinja_fill)(dw_jrun *r, void *ctx);

/* What came out; zero-initialise, reusable, release with dw_jinja_text_finish. */
typedef struct dw_jinja_text {
    dw_buf text;
    dw_buf mark; /* a byte of DW_JMARK_ bits for each byte of text */
} dw_jinja_text;
void dw_jinja_text_finish(dw_jinja_text *t);

/* Appends nothing on failure. DW_E_INPUT: the template says no (raise_exception) or cannot be
 * worked out; DW_E_LIMIT: steps, nesting, output or memory beyond what a chat template needs. */
dw_status dw_jinja_render(const dw_jinja *t, dw_jinja_fill fill, void *ctx, dw_jinja_text *out,
                          dw_err *err);

#endif
