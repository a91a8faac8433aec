/* Feeds bytes to model.safetensors.index.json, beside two shards. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "fuzz_folder.h"
#include "model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void put_shard(const char *name, char tensor)
{
    char bytes[128] = {0};
    const int head =
        snprintf(bytes + 8, sizeof bytes - 8,
                 "{\"%c\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", tensor);
    bytes[0] = (char)head;
    fuzz_folder_put(name, bytes, (size_t)head + 16);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static bool made;
    dw_checkpoint *c = NULL;
    dw_err err = {{0}};
    if (!made) {
        put_shard("a.safetensors", 'x');
        put_shard("b.safetensors", 'y');
        made = true;
    }
    fuzz_folder_put("model.safetensors.index.json", p, n);
    if (dw_checkpoint_open(fuzz_folder(), &c, &err) == DW_OK)
        for (size_t i = 0; i < dw_checkpoint_count(c); i++) {
            dw_real v[2];
            dw_assert(dw_checkpoint_at(c, i)->n == 2);
            dw_assert(dw_tensor_read(dw_checkpoint_at(c, i), v, &err) == DW_OK);
        }
    dw_checkpoint_close(c);
    return 0;
}
