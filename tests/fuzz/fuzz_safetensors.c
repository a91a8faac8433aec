/* Feeds bytes to safetensors files: every byte of every tensor that is accepted can be read. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "memory_file.h"
#include "model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    memory_file f;
    dw_checkpoint *c = NULL;
    dw_err err = {{0}};
    memory_file_open(&f, p, n);
    if (dw_checkpoint_open_file(f.path, &c, &err) == DW_OK)
        for (size_t i = 0; i < dw_checkpoint_count(c); i++) {
            const dw_tensor_entry *e = dw_checkpoint_at(c, i);
            dw_assert(e->bytes <= n);
            if (!dw_dtype_bytes(e->dtype))
                continue;
            dw_real *v = dw_alloc((size_t)e->n * sizeof *v + 1);
            (void)dw_tensor_read(e, v, &err);
            dw_free(v);
        }
    dw_checkpoint_close(c);
    memory_file_close(&f);
    return 0;
}
