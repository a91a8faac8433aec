/* Reads back more than it wrote. */
#include "bad.h"

static dowel_status save(void *self, dowel_sink *to, dowel_err *err)
{
    (void)self, (void)err;
    return to->write(to, "1234", 4);
}
static dowel_status load(void *self, dowel_source *from, uint32_t version, dowel_err *err)
{
    char more[8];
    (void)self, (void)version, (void)err;
    return from->read(from, more, sizeof more);
}
static const dowel_plugin plugin = {DOWEL_PLUGIN("bad", "1.0.0", "A reward.", 0), .save = save,
                                    .load = load, .reward = &good_reward};
DOWEL_MODULE(&plugin);
