/* What a recipe becomes: one plan, or stages that run one after the other.
 *
 * { "dowel": 1, "stages": [ { "name": "sft", "plan": PLAN }, ... ] }
 *
 * In the plan of a later stage the path "stage:sft/final" stands for the folder `final` of that
 * stage's run: its trained model. Only earlier stages can be named. */
#ifndef DW_TRAIN_PROGRAM_H
#define DW_TRAIN_PROGRAM_H

#include "train/plan.h"

typedef struct dw_program_stage {
    const char *name; /* letters, digits, '_', '-' and '.'; it names a folder */
    dw_plan *plan;
} dw_program_stage;

typedef struct dw_program {
    dw_arena arena;
    bool staged; /* else one plan, whose stage has no name */
    dw_program_stage *stage;
    size_t n;
} dw_program;

/* Takes over `root`, a plan or a list of stages. Messages start with the dotted path, behind
 * "stages.NAME: " where there are stages. */
dw_status dw_program_parse(dw_json *root, dw_program **out, dw_err *err);
dw_status dw_program_read(const char *path, dw_program **out, dw_err *err);
void dw_program_free(dw_program *p); /* accepts NULL */
bool dw_program_has_functions(const dw_program *p);
void dw_program_print(const dw_program *p, dw_buf *out); /* canonical JSON, for people */

/* Is this path the result of a stage? Then its name, and the folder inside its run. */
bool dw_program_ref(const char *path, dw_text *stage, const char **folder);

#endif
