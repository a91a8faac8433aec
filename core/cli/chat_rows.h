/* What commands that take {"messages"} share. */
#ifndef DW_CLI_CHAT_ROWS_H
#define DW_CLI_CHAT_ROWS_H

#include "cli/rows.h"
#include "text/chat.h"

/* A row's messages with the chat template: {"messages", "tools", "documents", "variables"};
 * `variables` may be called chat_template_kwargs. `generation`: the assistant is to speak next, or
 * to go on where the last message is its own; otherwise the conversation is closed and `masked`
 * says which tokens are the assistant's. c NULL: the row is bad, there is no template. False with
 * the row marked bad. out is emptied first. */
bool dw_cli_row_chat(const dw_chat *c, bool parse_special, dw_cli_row *row, bool generation,
                     dw_chat_out *out);
/* Puts "mask", a list of 0 and 1. */
void dw_cli_row_put_mask(dw_cli_row *row, const unsigned char *mask, size_t n);

#endif
