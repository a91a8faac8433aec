/* A schedule for a text. */
#include "bad.h"

static const dowel_param params[] = {
    DOWEL_OPT_STR(struct opts, text, "", DOWEL_TUNABLE, "A text."),
};
OPTIONS(params);
