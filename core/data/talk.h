/* Rows of messages: from JSON to what a chat template takes, and on to ids and mask. */
#ifndef DW_DATA_TALK_H
#define DW_DATA_TALK_H

#include "data/row.h"

/* Whether a value is messages: a list whose first element is an object with a role (or ShareGPT's
 * from), or one such object. */
bool dw_talk_is(const dw_data_spec *s, const dw_json *v);
/* Whether a row is a conversation; then dw_talk_read reads its texts. */
bool dw_talk_row(const dw_row_reader *r, const dw_column_row *row);
/* DW_E_INPUT: *at as in dw_row_read. */
dw_status dw_talk_read(dw_row_reader *r, const dw_column_row *row, dw_draft *w, size_t *at,
                       dw_err *err);
/* Appends an answer: a list of messages, or of texts the whole conversation. */
void dw_talk_answer(dw_row_reader *r, dw_draft *w, const dw_json *said);
/* Two lists of messages as one. */
dw_status dw_talk_join(dw_row_reader *r, const dw_json *a, const dw_json *b, const dw_json **out,
                       dw_err *err);
bool dw_talk_by_assistant(const dw_json *message);
/* Prompt, answers and mask of a draft, into r->ids and r->mask. The template alone says what is in
 * them: neither add_bos nor add_eos has a say, but where the template ends the assistant's turn
 * with no special token the tokenizer's eos goes there, as add_eos says. */
dw_status dw_talk_encode(dw_row_reader *r, dw_draft *w, dw_err *err);
/* The token with which a template ends an assistant's turn: the first special token that it writes
 * behind what the assistant said; -1: none. */
dw_status dw_talk_turn_end(const dw_chat *c, const dw_tokenizer *t, int32_t *id, dw_err *err);

#endif
