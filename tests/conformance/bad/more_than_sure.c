/* A verdict above 1. */
#include "parts.h"

static dowel_status compare(void *self, const dowel_pair *const *in, uint32_t n,
                            dowel_verdicts *out, dowel_err *err)
{
    (void)self, (void)err;
    for (uint32_t i = 0; i < n; i++)
        out->p[i] = in[i]->first.len > in[i]->second.len ? 2 : -1;
    return DOWEL_OK;
}
static const dowel_judge judge = {.size = sizeof judge, .symmetric = 1, .compare = compare};
static const dowel_plugin plugin = {DOWEL_PLUGIN("bad", "1.0.0", "A broken judge.", DOWEL_PURE),
                                    .judge = &judge};
DOWEL_MODULE(&plugin);
