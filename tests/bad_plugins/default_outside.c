/* The default of an option lies outside its range. */
#include "bad.h"

static const dowel_param params[] = {
    DOWEL_OPT_REAL(struct opts, rate, "11", 0, 10, 0, "A rate."),
};
OPTIONS(params);
