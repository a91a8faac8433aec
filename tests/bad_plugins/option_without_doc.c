/* An option that nobody explains. */
#include "bad.h"

static const dowel_param params[] = {
    DOWEL_OPT_STR(struct opts, text, "", 0, ""),
};
OPTIONS(params);
