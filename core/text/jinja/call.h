/* Calls: arguments, methods, filters, tests, functions, macros. Private to text/. */
#ifndef DW_TEXT_JINJA_CALL_H
#define DW_TEXT_JINJA_CALL_H

#include "text/jinja/run.h"
#include "text/jinja/value.h"

typedef struct dw_jkeyword {
    const char *name;
    dw_jvalue value;
} dw_jkeyword;

typedef struct dw_jargs {
    dw_jvalue *v;
    size_t n;
    dw_jkeyword *kw;
    size_t n_kw;
} dw_jargs;

enum { DW_JCALL_MOST = 6 }; /* parameters of anything built in */

/* Sorts arguments to the parameters `names` ("first second"), the first `required` of which must be
 * there; those not given are DW_J_MISSING. out has room for DW_JCALL_MOST. */
dw_status dw_jcall_bind(dw_jrun *r, const char *what, const dw_jargs *a, const char *names,
                        size_t required, dw_jvalue *out);
/* Using an undefined value where it may not be: always an error. */
dw_status dw_jcall_undefined(dw_jrun *r, const dw_jvalue *v);
/* Typed arguments; missing ones give the fallback. */
dw_status dw_jcall_int(dw_jrun *r, const char *what, const dw_jvalue *v, int64_t fallback,
                       int64_t *out);
dw_status dw_jcall_str(dw_jrun *r, const char *what, const dw_jvalue *v, dw_jstr *out);

dw_status dw_jcall_value(dw_jrun *r, const dw_jvalue *callee, dw_jargs *a, dw_jvalue *out);
dw_status dw_jcall_macro(dw_jrun *r, dw_jmacro *m, dw_jargs *a, dw_jvalue *out);

/* Is there a method of that name? unsafe: there is one, and it would change the value. */
bool dw_jmethod_has(const dw_jvalue *self, const char *name, bool *unsafe);
dw_status dw_jmethod_call(dw_jrun *r, const dw_jvalue *self, const char *name, dw_jargs *a,
                          dw_jvalue *out);
bool dw_jstrings_has(const char *name);
dw_status dw_jstrings_call(dw_jrun *r, const dw_jstr *self, const char *name, dw_jargs *a,
                           dw_jvalue *out);
dw_status dw_jstrings_case(dw_jrun *r, const dw_jstr *s, const char *how, dw_jvalue *out);
/* strip, lstrip, rstrip by how[0]; chars NULL: white space. */
dw_jstr dw_jstrings_strip(const dw_jstr *s, char how, const dw_jstr *chars);
dw_status dw_jstrings_replace(dw_jrun *r, const dw_jstr *s, const dw_jstr *from, const dw_jstr *to,
                              int64_t most, dw_jvalue *out);
dw_status dw_jstrings_lines(dw_jrun *r, const dw_jstr *s, bool keep, dw_jvalue *out);
dw_status dw_jstrings_is(dw_jrun *r, const dw_jstr *s, const char *name, bool *out);
dw_status dw_jstrings_escape(dw_jrun *r, const dw_jstr *s, dw_jvalue *out); /* gives Markup */

/* "%s" % args, and str.format */
dw_status dw_jformat_percent(dw_jrun *r, const dw_jstr *f, const dw_jvalue *args, dw_jvalue *out);
dw_status dw_jformat_braces(dw_jrun *r, const dw_jstr *f, const dw_jargs *a, dw_jvalue *out);

bool dw_jfilter_has(const char *name);
dw_status dw_jfilter_call(dw_jrun *r, const char *name, const dw_jvalue *v, dw_jargs *a,
                          dw_jvalue *out);
typedef dw_status (*dw_jfilter_fn)(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out);
typedef struct dw_jfilter {
    const char *name;
    dw_jfilter_fn fn;
} dw_jfilter;
extern const dw_jfilter dw_jfilter_lists[], dw_jfilter_texts[]; /* end with a NULL name */

bool dw_jtest_has(const char *name);
dw_status dw_jtest_call(dw_jrun *r, const char *name, const dw_jvalue *v, dw_jargs *a, bool *out);

/* Functions that every template has; -1: none of that name. */
int dw_jfunction_find(const char *name);
const char *dw_jfunction_name(int f);
dw_status dw_jfunction_call(dw_jrun *r, int f, dw_jargs *a, dw_jvalue *out);

/* ---- attributes and items ---- */
dw_status dw_jattr_get(dw_jrun *r, const dw_jvalue *of, const char *name, dw_jvalue *out);
dw_status dw_jattr_item(dw_jrun *r, const dw_jvalue *of, const dw_jvalue *key, dw_jvalue *out);
/* of[from:to:step]; None and missing parts are left out. */
dw_status dw_jattr_slice(dw_jrun *r, const dw_jvalue *of, const dw_jvalue part[3], dw_jvalue *out);

/* ---- loops, as far as attributes go ---- */
dw_status dw_jloop_attr(dw_jrun *r, dw_jloop *l, const char *name, dw_jvalue *out, bool *known);
dw_status dw_jloop_call(dw_jrun *r, dw_jloop *l, const char *name, dw_jargs *a, dw_jvalue *out);

/* ---- text ---- */
/* str(v) and repr(v), appended. */
dw_status dw_jprint_str(dw_jrun *r, dw_jbuild *b, const dw_jvalue *v);
dw_status dw_jprint_repr(dw_jrun *r, dw_jbuild *b, const dw_jvalue *v);
/* str(v); a string is not copied. */
dw_status dw_jprint_string(dw_jrun *r, const dw_jvalue *v, dw_jstr *out);
/* repr(float): at least 32 bytes. */
void dw_jprint_float(double x, char *out);
dw_status dw_jtojson(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out);

dw_status dw_joperate(dw_jrun *r, int op, const dw_jvalue *a, const dw_jvalue *b, dw_jvalue *out);

#endif
