/* Reads back less than it wrote. */
#include "bad.h"

static dowel_status save(void *self, dowel_sink *to, dowel_err *err)
{
    (void)self, (void)err;
    return to->write(to, "12345678", 8);
}
static dowel_status load(void *self, dowel_source *from, uint32_t version, dowel_err *err)
{
    char half[4];
    (void)self, (void)version, (void)err;
    return from->read(from, half, sizeof half);
}
static const dowel_plugin plugin = {DOWEL_PLUGIN("bad", "1.0.0", "A reward.", 0), .save = save,
                                    .load = load, .reward = &good_reward};
DOWEL_MODULE(&plugin);
