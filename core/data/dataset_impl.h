/* A data set as its own files see it. */
#ifndef DW_DATA_DATASET_IMPL_H
#define DW_DATA_DATASET_IMPL_H

#include "base/spill.h"
#include "data/order.h"

struct dw_dataset {
    dw_row **row; /* all that stays in memory of a row, if memory is short */
    size_t n, cap;
    dw_spill spill; /* the rows and what they point to */
    dw_data_counts counts;
    char **file;
    size_t n_file;
    char hash[65];
    size_t n_part, first[DW_MIXTURE_MAX + 1]; /* sources: rows first[i] .. first[i + 1] - 1 */
    double share[DW_MIXTURE_MAX];
    dw_buf bad_rows;
};

#endif
