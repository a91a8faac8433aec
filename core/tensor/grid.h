/* Cutting matrices into tasks by shape alone. Private to tensor/. */
#ifndef DW_TENSOR_GRID_H
#define DW_TENSOR_GRID_H

#include <stddef.h>

static inline size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t div_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

/* A matrix [rows][cols] cut into blocks of row x col, numbered row by row. */
typedef struct grid {
    size_t rows, cols, row, col, n_col;
} grid;

typedef struct tile {
    size_t r0, rows, c0, cols;
} tile;

static inline grid grid_make(size_t rows, size_t cols, size_t row, size_t col)
{
    return (grid){rows, cols, row, col, div_up(cols, col)};
}

static inline size_t grid_tasks(const grid *g)
{
    return div_up(g->rows, g->row) * g->n_col;
}

static inline tile grid_tile(const grid *g, size_t task)
{
    tile t = {.r0 = task / g->n_col * g->row, .c0 = task % g->n_col * g->col};
    t.rows = min_size(g->row, g->rows - t.r0);
    t.cols = min_size(g->col, g->cols - t.c0);
    return t;
}

/* Block of a dimension of n cut in equal parts of at most `most`, rounded up to `unit`. */
static inline size_t even_block(size_t n, size_t most, size_t unit)
{
    size_t parts = div_up(n, most);
    return div_up(div_up(n, parts), unit) * unit;
}

#endif
