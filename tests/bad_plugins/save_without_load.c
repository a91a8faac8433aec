/* Writes state that it cannot read back. */
#include "bad.h"

static dowel_status save(void *self, dowel_sink *to, dowel_err *err)
{
    (void)self, (void)to, (void)err;
    return DOWEL_OK;
}
static const dowel_plugin plugin = {DOWEL_PLUGIN("bad", "1.0.0", "A reward.", 0), .save = save,
                                    .reward = &good_reward};
DOWEL_MODULE(&plugin);
