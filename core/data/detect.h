/* Which type of data a row is, by the columns it has. */
#ifndef DW_DATA_DETECT_H
#define DW_DATA_DETECT_H

#include "data/dataset.h"

/* TRL's seven types, and lists. */
typedef enum dw_kind {
    DW_KIND_LANGUAGE_MODELING,
    DW_KIND_PROMPT_ONLY,
    DW_KIND_PROMPT_COMPLETION,
    DW_KIND_PREFERENCE,
    DW_KIND_PREFERENCE_IMPLICIT,
    DW_KIND_UNPAIRED,
    DW_KIND_STEPWISE,
    DW_KIND_RANKED,
    DW_N_KIND,
} dw_kind;
const char *dw_kind_name(dw_kind k); /* "unpaired preference" */
dw_data_type dw_kind_type(dw_kind k);

typedef struct dw_detected {
    dw_kind kind;
    bool conversational;
    dw_row_layout layout;
    const char *column[4]; /* [n] those that say so */
    size_t n;
} dw_detected;
/* False: no type has these columns. */
bool dw_detect(const dw_json *row, dw_detected *out);
/* Whether a recipe has to say messages = "messages": the whole conversation, whose last message is
 * the answer. */
bool dw_detect_whole(const dw_detected *d);
/* What a recipe would say of columns of other names: "d.completions { "FILE", prompt = "{q}", ...".
 * False: nothing in the row looks like prompt or answer. */
bool dw_detect_mapping(const dw_json *row, const char *file, dw_buf *out);
/* What to say of a row that lacks a field which `type` needs: the type or the layout that its
 * columns are those of, or what a recipe would say of them unless a name is merely misspelt.
 * Appends nothing where nothing fits. */
void dw_detect_hint(const dw_json *row, const dw_data_spec *s, bool misspelt, dw_buf *out);

#endif
