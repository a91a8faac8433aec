/* Tokens for people: where they end, and which of them are trained on. */
#ifndef DW_CLI_SHOW_TOKENS_H
#define DW_CLI_SHOW_TOKENS_H

#include <stdbool.h>

#include "text/tokenizer.h"

/* May colours be written to this file descriptor: a terminal that is not dumb, and no NO_COLOR. */
bool dw_show_colour(int fd);
/* Appends text with nothing in it that would steer a terminal: control characters, and those that
 * turn the direction of writing, become visible signs; a newline is shown and kept. */
void dw_show_text(dw_buf *out, dw_text text);
/* Appends n tokens; mask[i]: token i is trained on (NULL: none is known to be). With colour those
 * are green and neighbours differ in shade; without it tokens are divided by bars, and what is
 * trained on stands between arrows. */
dw_status dw_show_tokens(dw_buf *out, const dw_tokenizer *t, const int32_t *id, size_t n,
                         const unsigned char *mask, bool colour, dw_err *err);

#endif
