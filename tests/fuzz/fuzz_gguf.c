/* Feeds bytes to GGUF files: what is accepted can be read whole, and described. */
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "memory_file.h"
#include "model/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    memory_file f;
    dw_checkpoint *c = NULL;
    dw_err err = {{0}};
    memory_file_open(&f, p, n);
    if (dw_gguf_checkpoint(f.path, &c, &err) == DW_OK) {
        dw_buf config = {0}, tokenizer = {0}, words = {0};
        for (size_t i = 0; i < dw_checkpoint_count(c); i++) {
            const dw_tensor_entry *e = dw_checkpoint_at(c, i);
            dw_assert(e->bytes <= n);
            dw_real *v = dw_alloc((size_t)e->n * sizeof *v + 1);
            (void)dw_tensor_read(e, v, &err);
            dw_free(v);
        }
        (void)dw_gguf_config(dw_checkpoint_gguf(c), &config, &err);
        (void)dw_gguf_tokenizer(dw_checkpoint_gguf(c), &tokenizer, &words, &err);
        dw_buf_finish(&config);
        dw_buf_finish(&tokenizer);
        dw_buf_finish(&words);
    }
    dw_checkpoint_close(c);
    memory_file_close(&f);
    return 0;
}
