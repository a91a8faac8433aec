/* Unpacks gzip and zstd as the bytes come. */
#ifndef DW_DATA_UNPACK_H
#define DW_DATA_UNPACK_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

typedef enum dw_packing { DW_PACK_NONE, DW_PACK_GZIP, DW_PACK_ZSTD } dw_packing;
/* By the first bytes; four are enough. */
dw_packing dw_unpack_kind(dw_text head);

typedef struct dw_unpack dw_unpack;
/* A packing that this build was made without is refused by name. */
dw_status dw_unpack_open(dw_packing p, dw_unpack **out, dw_err *err);
void dw_unpack_close(dw_unpack *u); /* accepts NULL */
/* Appends what `in` unpacks to, about `most` bytes of it; *used is how much of `in` was taken.
 * Several packed streams one after the other are one text. */
dw_status dw_unpack_put(dw_unpack *u, dw_text in, size_t *used, size_t most, dw_buf *out,
                        dw_err *err);
/* Whether the bytes may end here: no stream is open. */
bool dw_unpack_whole(const dw_unpack *u);

#endif
