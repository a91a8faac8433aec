/* The paged cache of keys and values. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "model/generate_internal.h"

enum { SLAB_BYTES = 16 << 20 };

void dw_kv_init(dw_kv *kv, const dw_model *m)
{
    *kv = (dw_kv){.shape = dw_attention_of(m, 0), .layers = m->desc.layers};
    kv->block_reals = (dw_attention_block_elements(&kv->shape) + 15) / 16 * 16;
    kv->page_reals = kv->layers * kv->block_reals;
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

const dw_real *dw_kv_block(const dw_kv *kv, const dw_real *page, size_t layer)
{
    return page + layer * kv->block_reals;
}

void dw_kv_copy(const dw_kv *kv, dw_real *to, const dw_real *from)
{
    memcpy(to, from, kv->page_reals * sizeof *to);
}

void dw_kv_store(const dw_kv *kv, dw_real *const *page, size_t layer, size_t pos, size_t n,
                 const dw_real *k, const dw_real *v, size_t ld)
{
    while (n) {
        const size_t slot = pos % DW_KV_PAGE, fit = DW_KV_PAGE - slot < n ? DW_KV_PAGE - slot : n;
        dw_real *block = page[pos / DW_KV_PAGE] + layer * kv->block_reals;
        dw_attention_block_store(&kv->shape, block, (uint32_t)slot, k, v, ld, (uint32_t)fit);
        pos += fit;
        n -= fit;
        k += fit * ld;
        v += fit * ld;
    }
}
