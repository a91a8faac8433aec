/* Cuts a step's sequences into micro-batches and lays each out as a forest of segments. */
#include "data/pack.h"

#include <string.h>

#include "base/arena.h"

static bool same_prompt(const dw_packable *a, const dw_packable *b)
{
    return a->prompt == b->prompt && a->n_prompt == b->n_prompt;
}

/* End of the run of sequences below one prompt. */
static size_t run_end(const dw_packable *s, size_t n, size_t from)
{
    size_t i = from + 1;
    while (i < n && same_prompt(&s[from], &s[i]))
        i++;
    return i;
}

/* Tokens of the completion that are inputs. */
static uint32_t inputs(const dw_packable *s)
{
    return s->n_completion - !s->with_last;
}

static size_t added_rows(const dw_packable *s, size_t from, size_t i)
{
    size_t rows = inputs(&s[i]);
    if (i == from || !same_prompt(&s[i - 1], &s[i]))
        rows += s[i].n_prompt;
    return rows;
}

size_t dw_pack_cut(const dw_packable *s, size_t n, size_t from, size_t max_rows)
{
    size_t rows = 0, i = from;
    while (i < n) {
        size_t end = i, unit = 0;
        do
            unit += added_rows(s, from, end++);
        while (end < n && s[end].unit == s[i].unit);
        if (i > from && rows + unit > max_rows)
            break;
        rows += unit;
        i = end;
    }
    return i;
}

size_t dw_pack_rows(const dw_packable *s, size_t n)
{
    size_t rows = 0;
    for (size_t i = 0; i < n; i++)
        rows += added_rows(s, 0, i);
    return rows;
}

typedef struct builder {
    dw_pack *out;
    int32_t *id;
    dw_segment *seg;
    size_t n_row, n_seg, n_pair;
} builder;

static uint32_t push_rows(builder *b, const int32_t *id, size_t n)
{
    uint32_t at = (uint32_t)b->n_row;
    memcpy(b->id + b->n_row, id, n * sizeof *id);
    b->n_row += n;
    return at;
}

static void push_pair(builder *b, uint32_t row, int32_t target, uint32_t tok)
{
    b->out->pair[b->n_pair] = (dw_head_pair){row, target};
    b->out->pair_of[tok] = (uint32_t)b->n_pair++;
}

/* The tokens after the first: row r of the completion predicts token r + 1. */
static void push_body(builder *b, const dw_packable *s, uint32_t first_row, uint32_t first_tok)
{
    for (uint32_t t = 0; t < inputs(s); t++)
        b->out->row_of[first_tok + t] = first_row + t;
    for (uint32_t t = 1; t < s->n_completion; t++)
        push_pair(b, first_row + t - 1, s->completion[t], first_tok + t);
}

static void push_run(builder *b, const dw_packable *s, size_t from, size_t end)
{
    const dw_packable *p = &s[from];
    const uint32_t *start = b->out->start;
    size_t root = b->n_seg++;
    uint32_t row = push_rows(b, p->prompt, p->n_prompt), last = row + p->n_prompt - 1;
    b->seg[root] = (dw_segment){row, p->n_prompt, -1, 0};
    for (size_t i = from; i < end; i++)
        push_pair(b, last, s[i].completion[0], start[i]);
    for (size_t i = from; i < end; i++) {
        uint32_t n = inputs(&s[i]);
        if (p->n_prompt + n > b->out->longest)
            b->out->longest = p->n_prompt + n;
        if (n == 0)
            continue;
        uint32_t at = push_rows(b, s[i].completion, n);
        if (end - from == 1) /* alone: prompt and completion are one segment */
            b->seg[root].len += n;
        else
            b->seg[b->n_seg++] = (dw_segment){at, n, (int32_t)root, p->n_prompt};
        push_body(b, &s[i], at, start[i]);
    }
}

void dw_pack_build(dw_arena *a, const dw_packable *s, size_t n, dw_pack *out)
{
    *out = (dw_pack){.n_seq = n};
    size_t rows = dw_pack_rows(s, n);
    out->start = dw_arena_alloc(a, (n + 1) * sizeof *out->start);
    for (size_t i = 0; i < n; i++)
        out->start[i + 1] = out->start[i] + s[i].n_completion;
    out->n_tok = out->start[n];
    out->pair = dw_arena_alloc(a, out->n_tok * sizeof *out->pair);
    out->pair_of = dw_arena_alloc(a, out->n_tok * sizeof *out->pair_of);
    out->row_of = dw_arena_alloc(a, out->n_tok * sizeof *out->row_of);
    memset(out->row_of, 0xff, out->n_tok * sizeof *out->row_of);
    builder b = {.out = out,
                 .id = dw_arena_alloc(a, rows * sizeof(int32_t)),
                 .seg = dw_arena_alloc(a, 2 * n * sizeof(dw_segment))};
    for (size_t i = 0; i < n;) {
        size_t end = run_end(s, n, i);
        push_run(&b, s, i, end);
        i = end;
    }
    out->forest = (dw_forest){b.id, b.n_row, b.seg, b.n_seg};
}
