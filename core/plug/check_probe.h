/* How a random step is made: what check_batch.c lays out, check_columns.c fills. */
#ifndef DW_PLUG_CHECK_PROBE_H
#define DW_PLUG_CHECK_PROBE_H

#include "plug/check.h"

enum { DW_PROBE_ASKED = 40 }; /* columns below it are there when they were asked for */

typedef struct dw_probe_plan {
    const dw_probe_spec *spec;
    dowel_request ask; /* of the objective and, for rollouts, the estimator */
    const char **part; /* names of rewards */
    double *part_weight;
    uint32_t n_part;
    uint32_t n_gold; /* 1: pairs bring a gold answer */
    bool scores;     /* SCORE or CHOICES are wanted: no answer is empty */
} dw_probe_plan;

/* Zeroed; fenced: the byte behind it cannot be read. */
void *dw_probe_memory(dw_check *c, size_t bytes, bool fenced);
double *dw_probe_column(dw_check *c, dw_probe *p, uint32_t k, uint32_t width, bool fenced);
bool dw_probe_by_mark(uint32_t column);
/* Rewards are called what the plugin's text options say, and two other names. */
void dw_probe_name_parts(dw_check *c, const dw_setting *set, dw_probe_plan *l);
/* Every column: those that the rows bring, those that were asked for, advantages. */
void dw_probe_fill(dw_check *c, dw_probe *p, const dw_probe_plan *l);

#endif
