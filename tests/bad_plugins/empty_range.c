/* The ends of a range are exchanged. */
#include "bad.h"

static const dowel_param params[] = {
    DOWEL_OPT_REAL(struct opts, rate, "1", 10, 0, 0, "A rate."),
};
OPTIONS(params);
