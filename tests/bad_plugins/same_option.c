/* Two options of one name. */
#include "bad.h"

static const dowel_param params[] = {
    DOWEL_OPT_REAL(struct opts, rate, "1", 0, 10, 0, "A rate."),
    DOWEL_OPT_REAL(struct opts, rate, "2", 0, 10, 0, "The rate."),
};
OPTIONS(params);
