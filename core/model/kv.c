/* The paged cache of keys and values. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "model/generate_internal.h"

enum { SLAB_BYTES = 16 << 20 };

void dw_kv_init(dw_kv *kv, const dw_description *d)
{
    *kv = (dw_kv){.layers = d->layers, .width = (size_t)d->kv_heads * d->head_dim};
    kv->page_reals = kv->layers * 2 * DW_KV_PAGE * kv->width;
}

void dw_kv_finish(dw_kv *kv)
{
    for (size_t i = 0; i < kv->n_slab; i++)
        dw_tensor_unmap(kv->slab[i].mem, kv->slab[i].bytes);
    dw_free(kv->slab);
    dw_free(kv->free_page);
    *kv = (dw_kv){0};
}

static bool grow(dw_kv *kv, dw_err *err)
{
    const size_t page = kv->page_reals * sizeof(dw_real);
    const size_t n = page < SLAB_BYTES ? SLAB_BYTES / page : 1;
    const long free_kib = dw_mem_available_kib();
    void *mem = NULL;
    if (free_kib < 0 || n * page / 1024 < (size_t)free_kib)
        mem = dw_tensor_map(n * page);
    if (!mem) {
        dw_fail(err, DW_E_LIMIT,
                "the cache of keys and values holds %zu pages of %d positions, %.1f MB each, and "
                "there is no memory for more: generate fewer or shorter sequences at once",
                kv->n_live, DW_KV_PAGE, (double)page / 1e6);
        return false;
    }
    DW_GROW(kv->slab, kv->n_slab, kv->cap_slab);
    kv->slab[kv->n_slab++] = (struct dw_kv_slab){mem, n * page};
    for (size_t i = n; i-- > 0;) {
        DW_GROW(kv->free_page, kv->n_free, kv->cap_free);
        kv->free_page[kv->n_free++] = (dw_real *)mem + i * kv->page_reals;
    }
    return true;
}

dw_real *dw_kv_take(dw_kv *kv, dw_err *err)
{
    if (!kv->n_free && !grow(kv, err))
        return NULL;
    kv->n_live++;
    return kv->free_page[--kv->n_free];
}

void dw_kv_give(dw_kv *kv, dw_real *page)
{
    if (!page)
        return;
    DW_GROW(kv->free_page, kv->n_free, kv->cap_free);
    kv->free_page[kv->n_free++] = page;
    kv->n_live--;
}

dw_real *dw_kv_keys(const dw_kv *kv, dw_real *page, size_t layer)
{
    return page + 2 * layer * DW_KV_PAGE * kv->width;
}

dw_real *dw_kv_values(const dw_kv *kv, dw_real *page, size_t layer)
{
    return page + (2 * layer + 1) * DW_KV_PAGE * kv->width;
}

void dw_kv_copy(const dw_kv *kv, dw_real *to, dw_real *from, size_t n)
{
    for (size_t i = 0; i < 2 * kv->layers; i++)
        memcpy(to + i * DW_KV_PAGE * kv->width, from + i * DW_KV_PAGE * kv->width,
               n * kv->width * sizeof *to);
}

void dw_kv_store(const dw_kv *kv, dw_real *const *page, size_t layer, size_t pos, size_t n,
                 const dw_real *k, const dw_real *v, size_t ld)
{
    for (size_t i = 0; i < n; i++) {
        dw_real *p = page[(pos + i) / DW_KV_PAGE];
        size_t at = (pos + i) % DW_KV_PAGE * kv->width;
        memcpy(dw_kv_keys(kv, p, layer) + at, k + i * ld, kv->width * sizeof *k);
        memcpy(dw_kv_values(kv, p, layer) + at, v + i * ld, kv->width * sizeof *v);
    }
}
