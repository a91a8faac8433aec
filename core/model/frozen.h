/* A frozen model's matrices, which stay in the mapped checkpoint until they are needed and are then
 * kept packed alone.
 *
 * Why so: opening costs a header and the small tensors, whatever the size of the model; what a run
 * never touches is never read; and at no time are a matrix's values held twice, neither row by row
 * beside the panels (the backward product, single rows and column sums read panels:
 * tensor/linear.h) nor as resident pages of the file, which are given back once packed. The one
 * matrix that is read by rows, the embedding, is read from the file itself. */
#ifndef DW_MODEL_FROZEN_H
#define DW_MODEL_FROZEN_H

#include <pthread.h>
#include <stdatomic.h>

#include "model/weights.h"

enum { DW_MAPPED_PARTS = 4 };

/* One matrix of a frozen model: where it comes from and how it is kept. */
typedef struct dw_mapped {
    uint32_t n_part; /* tensors one below the other */
    dw_slice part[DW_MAPPED_PARTS];
    const dw_tensor_entry *entry[DW_MAPPED_PARTS];
    uint32_t rows, cols;
    dw_panel_type type;
    bool rounded;      /* to bf16, from values that are more */
    atomic_bool ready; /* every value was checked, and packed where a product uses it */
} dw_mapped;

typedef struct dw_frozen {
    dw_checkpoint *c; /* owned */
    pthread_mutex_t lock;
    dw_mapped *mapped; /* [base.n_weight]; n_part 0: in the arena */
} dw_frozen;

/* Decides which parameters of m->base stay in the checkpoint, moves the others together (offsets
 * and m->base.n) and points dw_weight.mapped to the result, m->frozen. c fits the description. Does
 * not own c until the caller says so: dw_frozen_close leaves it alone where f->c is NULL. */
dw_status dw_frozen_make(dw_model *m, dw_checkpoint *c, dw_storage storage, dw_err *err);
void dw_frozen_close(dw_frozen *f); /* accepts NULL */

/* Makes a matrix ready for use: DW_OK at once where it is, or where it lies in the arena. Any
 * thread; the panels' bits do not depend on threads. DW_E_INPUT names a value that is not finite.
 */
dw_status dw_frozen_need(const dw_model *m, const dw_matrix *x, dw_err *err);
dw_status dw_frozen_need_layer(const dw_model *m, uint32_t layer, dw_err *err);
dw_status dw_frozen_need_all(const dw_model *m, dw_err *err);
/* Checks the values of what is not ready without packing it. */
dw_status dw_frozen_check(const dw_model *m, dw_err *err);

/* One row of a matrix that is read by rows (the embedding), as the panels hold it; any thread. */
void dw_frozen_row(const dw_mapped *w, size_t row, dw_real *out);
/* Calls fn with all values of a parameter of the base in order, a piece at a time, as the panels
 * hold them. */
typedef void (*dw_values_fn)(void *ctx, const dw_real *v, size_t n);
void dw_frozen_each(const dw_mapped *w, dw_values_fn fn, void *ctx);
/* The tensor of a slice as the engine has it, exactly: out [rows][cols]. */
void dw_frozen_slice(const dw_mapped *w, const dw_slice *s, dw_real *out);
/* The entry of a slice. */
const dw_tensor_entry *dw_frozen_entry(const dw_mapped *w, const dw_slice *s);

#endif
