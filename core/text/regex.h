/* Patterns of tokenizer.json (Oniguruma's syntax) run by PCRE2. The only user of pcre2.h is behind
 * this header. */
#ifndef DW_TEXT_REGEX_H
#define DW_TEXT_REGEX_H

#include "base/buf.h"
#include "base/err.h"

typedef struct dw_regex dw_regex; /* immutable: any thread */
typedef struct dw_regex_scratch dw_regex_scratch;

/* Accepts the part of the syntax that both libraries read alike, and refuses the rest by name; a
 * pattern that can match the empty text is refused as well. */
dw_status dw_regex_compile(dw_text pattern, dw_regex **out, dw_err *err);
void dw_regex_free(dw_regex *r); /* accepts NULL */

/* The form of the pattern for this text: characters that PCRE2's tables may lack make another one
 * necessary. Lives as long as r. */
const dw_regex *dw_regex_for(const dw_regex *r, dw_text text);

/* Match data and stack; one thread at a time. */
dw_regex_scratch *dw_regex_scratch_create(void);
void dw_regex_scratch_free(dw_regex_scratch *s); /* accepts NULL */

/* First match at or after `from`. *found is false when there is none. A pattern that backtracks
 * beyond its limits is an error. */
dw_status dw_regex_next(const dw_regex *r, dw_regex_scratch *s, dw_text text, size_t from,
                        bool *found, size_t *start, size_t *end, dw_err *err);
/* Appends the text with every match replaced. */
dw_status dw_regex_replace(const dw_regex *r, dw_regex_scratch *s, dw_text text, dw_text to,
                           dw_buf *out, dw_err *err);

#endif
