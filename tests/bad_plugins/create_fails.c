/* Cannot start with these options. */
#include "bad.h"

static dowel_status create(const dowel_host *host, const void *config, void **self, dowel_err *err)
{
    (void)host, (void)config, (void)self;
    return dowel_fail(err, DOWEL_E_ARG, "no list of words");
}
static const dowel_plugin plugin = {DOWEL_PLUGIN("bad", "1.0.0", "A reward.", DOWEL_PURE),
                                    .create = create, .reward = &good_reward};
DOWEL_MODULE(&plugin);
