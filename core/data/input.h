/* The bytes of a file or of standard input as a window that moves on. */
#ifndef DW_DATA_INPUT_H
#define DW_DATA_INPUT_H

#include "base/file.h"
#include "base/hash.h"
#include "data/unpack.h"

typedef struct dw_input {
    char *name;      /* for messages: the path, or "<stdin>" */
    const char *ptr; /* what was read and not dropped; of a plain file everything */
    size_t len;
    bool eof; /* nothing comes after it */
    bool is_stdin;
    dw_mapping map; /* a file as it lies on disk */
    size_t passed;  /* pages of it before here were let go */
    /* Below: of what is read in pieces. */
    dw_buf window, packed;
    size_t taken; /* packed bytes that were used, of the file or of `packed` */
    bool dry;     /* standard input has ended */
    dw_unpack *unpack;
} dw_input;

/* Zero-initialise before; "-" is standard input. Files that hold rows in a form that is not read
 * here (Parquet, Arrow, spreadsheets, archives, ...) are refused by their first bytes or their
 * name, with the way to convert them. */
dw_status dw_input_open(dw_input *in, const char *path, dw_err *err);
void dw_input_close(dw_input *in); /* accepts a zeroed one */
/* Drops the first *drop bytes, or keeps them where moving the rest costs too much (*drop is then
 * 0), and reads at least `least` more unless the end comes first. Waits for standard input. */
dw_status dw_input_more(dw_input *in, size_t *drop, size_t least, dw_err *err);
/* False when dw_input_more would wait for somebody to write. */
bool dw_input_ready(const dw_input *in);
/* Bytes of the mapped file up to `to` are not needed soon; may be called for every row. */
void dw_input_passed(dw_input *in, size_t to);
void dw_input_hash(const dw_input *in, dw_sha256 *sha); /* adds the file as it lies on disk */
/* The path's ending in lower case without one of compression: ".csv" of "a.CSV.gz". */
void dw_input_ending(const char *path, char out[16]);

#endif
