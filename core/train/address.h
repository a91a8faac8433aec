/* The address of a stage: one hash over everything that decides its result. */
#ifndef DW_TRAIN_ADDRESS_H
#define DW_TRAIN_ADDRESS_H

#include "plug/plug.h"
#include "train/program.h"

/* What of a stage's inputs does not stand in its own plan. */
typedef struct dw_address_inputs {
    const dw_program *program;
    const char *const *address; /* of the stages before it, [at] hex digests */
    size_t at;
    dw_registry *reg;   /* with the plan's plugin folders */
    const char *recipe; /* hash of the recipe's sources; counts where the plan has functions */
} dw_address_inputs;

/* Plan (paths, threads and folders of plugins left out), contents of model folders and data files,
 * plugins by their bytes, and for a model of an earlier stage that stage's address. A file that
 * cannot be read is an error that names it. */
dw_status dw_address_of(const dw_address_inputs *in, char out[65], dw_err *err);

#endif
