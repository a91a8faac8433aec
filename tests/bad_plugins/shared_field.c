/* Two options that write to one field. */
#include "bad.h"

static const dowel_param params[] = {
    DOWEL_OPT_REAL(struct opts, rate, "1", 0, 10, 0, "A rate."),
    {"speed", "A speed.", "1", NULL, 0, 10, DOWEL_REAL, 0, offsetof(struct opts, rate), 0},
};
OPTIONS(params);
