/* Cutting matrices into tasks by shape alone. Private to tensor/. */
#ifndef DW_TENSOR_GRID_H
#define DW_TENSOR_GRID_H

#include "base/size.h"

/* A matrix [rows][cols] cut into blocks of row x col, numbered row by row. */
typedef struct grid {
    size_t rows, cols, row, col, n_col;
} grid;

typedef struct tile {
    size_t r0, rows, c0, cols;
} tile;

static inline grid grid_make(size_t rows, size_t cols, size_t row, size_t col)
{
    return (grid){rows, cols, row, col, dw_div_up(cols, col)};
}

static inline size_t grid_tasks(const grid *g)
{
    return dw_div_up(g->rows, g->row) * g->n_col;
}

static inline tile grid_tile(const grid *g, size_t task)
{
    tile t = {.r0 = task / g->n_col * g->row, .c0 = task % g->n_col * g->col};
    t.rows = dw_min_size(g->row, g->rows - t.r0);
    t.cols = dw_min_size(g->col, g->cols - t.c0);
    return t;
}

/* Block of a dimension of n cut in equal parts of at most `most`, rounded up to `unit`. */
static inline size_t even_block(size_t n, size_t most, size_t unit)
{
    size_t parts = dw_div_up(n, most);
    return dw_div_up(dw_div_up(n, parts), unit) * unit;
}

#endif
