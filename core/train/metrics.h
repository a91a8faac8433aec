/* Numbers of a step under names: folding what many calls report, and writing JSON lines.
 *
 * A mean is sum(weight * value) / sum(weight), so that cutting a step differently changes nothing
 * but rounding. metrics.jsonl has one object per optimiser step ("step" counts finished steps) and
 * one per evaluation; evaluation names start with "eval_" ("task/eval_" where a recipe has several
 * tasks), and "NAME_ci95" beside a mean over rows is the half width of its 95 % interval. */
#ifndef DW_TRAIN_METRICS_H
#define DW_TRAIN_METRICS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"

/* One reported value of a mean, kept where intervals are wanted. */
typedef struct dw_metric_part {
    double value, weight;
} dw_metric_part;

typedef struct dw_metric {
    const char *name;
    uint32_t fold;      /* DOWEL_MEAN ... */
    double sum, weight; /* MEAN: of weight * value; else the value so far */
    dw_metric_part *part;
    size_t n_part, cap_part;
} dw_metric;

/* Zero-initialise. Names keep the order in which they were first seen. Any thread may add. */
typedef struct dw_metrics {
    dw_arena arena;
    dw_metric *item;
    size_t n, cap;
    dw_map index;
    bool keep_parts; /* remember every reported mean, for intervals */
} dw_metrics;

void dw_metrics_add(dw_metrics *m, const char *name, uint32_t fold, double value, double weight);
void dw_metrics_set(dw_metrics *m, const char *name, double value);      /* a plain value */
const dw_metric *dw_metrics_find(const dw_metrics *m, const char *name); /* or NULL */
double dw_metric_value(const dw_metric *m);                              /* NaN when empty */
/* Half width of the 95 % interval of a weighted mean over its parts: normal, or Agresti-Coull's
 * where every part is 0 or 1; NaN below two parts. */
double dw_metric_ci95(const dw_metric *m);
void dw_metrics_clear(dw_metrics *m);
void dw_metrics_finish(dw_metrics *m); /* accepts a zeroed one */
/* ,"name":value for each, with ci95 where parts were kept. */
void dw_metrics_put(const dw_metrics *m, dw_buf *out);

#endif
