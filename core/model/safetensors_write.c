/* Writes safetensors files in upstream's order, so that the same tensors give the same bytes as the
 * reference implementation. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "model/safetensors_internal.h"

enum { CHUNK = 1 << 16 }; /* values converted at a time */

/* Upstream sorts by its list of types backwards, which is alignment first, then by name. */
static int rank(dw_dtype t)
{
    static const int order[] = {
        [DW_DT_I64] = 0, [DW_DT_F64] = 1, [DW_DT_F32] = 2, [DW_DT_I32] = 3, [DW_DT_BF16] = 4,
        [DW_DT_F16] = 5, [DW_DT_I16] = 6, [DW_DT_I8] = 7,  [DW_DT_U8] = 8,  [DW_DT_BOOL] = 9};
    return order[t];
}

static int by_order(const void *a, const void *b)
{
    const dw_tensor_out *x = a, *y = b;
    if (x->dtype != y->dtype)
        return rank(x->dtype) - rank(y->dtype);
    return strcmp(x->name, y->name);
}

void dw_st_sort(dw_tensor_out *t, size_t n)
{
    if (n)
        qsort(t, n, sizeof *t, by_order);
}

static uint64_t elements(const dw_tensor_out *t)
{
    uint64_t n = 1;
    for (uint32_t i = 0; i < t->n_dim; i++)
        n *= t->dim[i];
    return n;
}

static void put_entry(dw_buf *b, const dw_tensor_out *t, uint64_t at, uint64_t end)
{
    dw_json_put_cstr(b, t->name);
    dw_buf_printf(b, ":{\"dtype\":\"%s\",\"shape\":[", dw_dtype_name(t->dtype));
    for (uint32_t i = 0; i < t->n_dim; i++)
        dw_buf_printf(b, "%s%llu", i ? "," : "", (unsigned long long)t->dim[i]);
    dw_buf_printf(b, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
                  (unsigned long long)end);
}

static void put_header(dw_buf *b, const dw_tensor_out *t, size_t n, const dw_meta_pair *meta,
                       size_t n_meta)
{
    uint64_t at = 0;
    dw_buf_addc(b, '{');
    if (n_meta)
        dw_buf_adds(b, "\"__metadata__\":{");
    for (size_t i = 0; i < n_meta; i++) {
        if (i)
            dw_buf_addc(b, ',');
        dw_json_put_cstr(b, meta[i].key);
        dw_buf_addc(b, ':');
        dw_json_put_cstr(b, meta[i].value);
    }
    if (n_meta)
        dw_buf_adds(b, n ? "}," : "}");
    for (size_t i = 0; i < n; i++) {
        uint64_t end = at + elements(&t[i]) * dw_dtype_bytes(t[i].dtype);
        if (i)
            dw_buf_addc(b, ',');
        put_entry(b, &t[i], at, end);
        at = end;
    }
    dw_buf_addc(b, '}');
    while (b->len % 8)
        dw_buf_addc(b, ' ');
}

static dw_status put_tensor(dw_writer *w, const dw_tensor_out *t, unsigned char *chunk, dw_err *err)
{
    uint64_t n = elements(t);
    size_t size = dw_dtype_bytes(t->dtype);
    if (t->raw || !n)
        return n ? dw_writer_put(w, t->raw, (size_t)n * size, err) : DW_OK;
    const dw_real *v = t->values ? t->values : t->fetch(t->ctx, t);
    for (uint64_t i = 0; i < n; i += CHUNK) {
        size_t m = n - i < CHUNK ? (size_t)(n - i) : CHUNK;
        dw_st_encode(t->dtype, v + i, m, chunk);
        DW_TRY(dw_writer_put(w, chunk, m * size, err));
    }
    return DW_OK;
}

dw_status dw_safetensors_write(const char *path, const dw_tensor_out *t, size_t n,
                               const dw_meta_pair *meta, size_t n_meta, dw_err *err)
{
    dw_buf head = {0};
    dw_writer *w = NULL;
    dw_tensor_out *sorted = dw_alloc(n * sizeof *t + 1);
    if (n)
        memcpy(sorted, t, n * sizeof *t);
    dw_st_sort(sorted, n);
    put_header(&head, sorted, n, meta, n_meta);
    unsigned char len[8];
    for (int i = 0; i < 8; i++)
        len[i] = (unsigned char)((uint64_t)head.len >> (8 * i));
    unsigned char *chunk = dw_alloc(CHUNK * 8);
    dw_status st = dw_writer_open(path, &w, err);
    if (st == DW_OK)
        st = dw_writer_put(w, len, sizeof len, err);
    if (st == DW_OK)
        st = dw_writer_put(w, head.ptr, head.len, err);
    for (size_t i = 0; i < n && st == DW_OK; i++)
        st = put_tensor(w, &sorted[i], chunk, err);
    if (st == DW_OK)
        st = dw_writer_close(w, err);
    else if (w)
        dw_writer_abandon(w);
    dw_free(chunk);
    dw_free(sorted);
    dw_buf_finish(&head);
    return st;
}
