/* What a person sees while a run works: a line that is redrawn on a terminal, plain lines
 * elsewhere (every 30 s or 10 %). All of it goes to stderr. */
#ifndef DW_TRAIN_PROGRESS_H
#define DW_TRAIN_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

typedef struct dw_progress {
    bool tty, quiet, drawn;
    uint64_t first, step, steps;              /* first: of this process */
    double begun, last_draw, last_line, rate; /* rate: seconds per step, smoothed */
    uint64_t tokens;                          /* of this process */
    int last_tenth;
    char line[256]; /* numbers of the last step, "loss 0.612  acc 0.71" */
} dw_progress;

void dw_progress_begin(dw_progress *p, uint64_t step, uint64_t steps, bool quiet);
/* After a step; `numbers` as it should stand in the line. */
void dw_progress_step(dw_progress *p, uint64_t step, double seconds, uint64_t tokens,
                      const char *numbers);
/* Within a step or before the first: "sampling 37/64". Drawn on terminals only, at most 10 times a
 * second. */
void dw_progress_phase(dw_progress *p, const char *what, size_t done, size_t of);
/* A whole line of its own, above the redrawn one. */
__attribute__((format(printf, 2, 3))) void dw_progress_say(dw_progress *p, const char *fmt, ...);
void dw_progress_end(dw_progress *p);

#endif
