/* Text that appears piece by piece: whole characters only. */
#ifndef DW_CLI_STREAM_H
#define DW_CLI_STREAM_H

#include "base/buf.h"

/* Moves from `pending` to `out` all that can be shown: valid characters as they are, bytes that can
 * never become one as U+FFFD. The start of a character that may still be completed stays, unless
 * `last`. */
void dw_stream_take(dw_buf *pending, dw_buf *out, bool last);

#endif
