/* An option of a type that does not exist. */
#include "bad.h"

static const dowel_param params[] = {
    {"rate", "A rate.", "1", NULL, 0, 10, 9, 0, offsetof(struct opts, rate), 0},
};
OPTIONS(params);
