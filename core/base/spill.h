/* Memory that the kernel may move to disk: blocks of an unlinked file, mapped where they stay. */
#ifndef DW_BASE_SPILL_H
#define DW_BASE_SPILL_H

#include "base/err.h"

/* Zero-initialise before use. What it gives is never moved and lives until dw_spill_finish. The
 * first blocks are ordinary memory; a file is made only for what does not fit there. */
typedef struct dw_spill {
    struct dw_spill_block *block;
    size_t used; /* bytes given */
    int fd;      /* of the file; 0: none yet, -1: there is no place for one */
    int64_t end; /* of the file */
} dw_spill;

/* Zeroed, 16-byte aligned; NULL with err set where the disk is full. The file lies in $TMPDIR,
 * /var/tmp or /tmp, the first that is not held in memory itself; where none is, ordinary memory
 * takes its place. */
void *dw_spill_alloc(dw_spill *s, size_t bytes, dw_err *err);
/* Everything so far may leave memory; what is read again comes back by itself. */
void dw_spill_rest(dw_spill *s);
void dw_spill_finish(dw_spill *s);

#endif
