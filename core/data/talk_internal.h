/* Shared by the files that read rows of messages. */
#ifndef DW_DATA_TALK_INTERNAL_H
#define DW_DATA_TALK_INTERNAL_H

#include "data/talk.h"

/* JSON text to a node that lives until the next row; empties the text. */
dw_status dw_talk_made(dw_row_reader *r, dw_buf *text, const dw_json **out, dw_err *err);
/* The value of a column that is a field of the row or what a function gave, or NULL. */
const dw_json *dw_talk_value(const dw_row_reader *r, const dw_column_row *row, dw_data_column c);
/* A list of messages, or one message, checked and in the chat's spelling; `what` names it. */
dw_status dw_talk_messages(dw_row_reader *r, const dw_json *v, const char *what,
                           const dw_json **out, dw_err *err);

/* Layout alpaca: all texts of a row. */
dw_status dw_talk_alpaca(dw_row_reader *r, const dw_column_row *row, dw_draft *w, size_t *at,
                         dw_err *err);
/* Layout sharegpt: puts the column of what the system says in front. */
dw_status dw_talk_with_system(dw_row_reader *r, const dw_column_row *row, const dw_json **all,
                              size_t *at, dw_err *err);

#endif
