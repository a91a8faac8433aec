/* Own thread pool: N-1 workers that spin about 50 us and then sleep on a futex. Work is a number of
 * tasks dealt by an atomic counter; tasks are cut by shape alone, so that a result never depends on
 * the number of threads. */
#ifndef DW_TENSOR_POOL_H
#define DW_TENSOR_POOL_H

#include <stddef.h>

#include "base/err.h"

typedef struct dw_pool dw_pool;
typedef void (*dw_task)(void *ctx, size_t task, int thread);

/* n_threads >= 1 includes the caller; 0: one per CPU that this process may use. */
dw_status dw_pool_create(int n_threads, dw_pool **out, dw_err *err);
void dw_pool_destroy(dw_pool *p); /* accepts NULL */
int dw_pool_threads(const dw_pool *p);
/* Runs task 0 .. n-1 and returns when all are done. Not reentrant; one caller at a time. */
void dw_pool_run(dw_pool *p, size_t n, dw_task fn, void *ctx);

#endif
