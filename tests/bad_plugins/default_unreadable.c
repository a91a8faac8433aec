/* The default of an option is no number. */
#include "bad.h"

static const dowel_param params[] = {
    DOWEL_OPT_INT(struct opts, count, "ten", 0, 10, 0, "A count."),
};
OPTIONS(params);
