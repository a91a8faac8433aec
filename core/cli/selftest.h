/* The fixed inputs and printed results that `dowel selftest` proves. */
#ifndef DW_CLI_SELFTEST_H
#define DW_CLI_SELFTEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DW_CASE_SEQS = 12, DW_CASE_COLUMNS = 9, DW_CASE_WANT = 8 };

/* A column of a batch. n values: one per row and channel, or one per sequence that all of its
 * tokens have. */
typedef struct dw_case_column {
    uint32_t column, width, n;
    const double *x;
} dw_case_column;

/* A batch in which every token counts. */
typedef struct dw_case_batch {
    uint32_t n_seq;
    uint32_t n_loss; /* the first so many are what loss() sees; 0: all of them */
    uint32_t len[DW_CASE_SEQS];
    uint8_t role[DW_CASE_SEQS];
    int32_t group[DW_CASE_SEQS];
    bool pairs;     /* sequences 2k and 2k + 1 are wanted and unwanted */
    uint32_t marks; /* so many of a sequence's last tokens */
    dw_case_column col[DW_CASE_COLUMNS];
} dw_case_batch;

typedef enum dw_case_want {
    DW_WANT_EACH,   /* derivative of every row; or, n of n_seq, of every token of a sequence */
    DW_WANT_MEAN,   /* of a sequence's mean: the sum over its tokens */
    DW_WANT_CREDIT, /* advantages: of every token, or of each sequence's last */
} dw_case_want;

typedef struct dw_case {
    const char *section, *name, *plugin, *options;
    const dw_case_batch *batch;
    uint32_t column; /* of the derivatives */
    dw_case_want kind;
    double loss;
    uint32_t n;
    double want[DW_CASE_WANT];
    double tally[2]; /* of a step before, where not 0 */
} dw_case;
extern const dw_case dw_cases[];
extern const size_t dw_n_cases;

/* A row of logits, and what the engine's head makes of it. */
typedef struct dw_head_case {
    const char *section, *name;
    int column; /* 0 logp, 1 entropy, 2 mean logp, 3 collision; -1: a divergence */
    int kind;
    double beta;
    uint32_t top_k;
    bool tail;
    double value;
    double dz[4];
} dw_head_case;
extern const dw_head_case dw_head_cases[];
extern const size_t dw_n_head_cases;
/* Logits of B.5, the teacher's, and the label. */
extern const double dw_case_logits[4], dw_case_teacher[4];
enum { DW_CASE_LABEL = 3 };

#endif
