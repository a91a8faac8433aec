/* An option that would be written behind the struct. */
#include "bad.h"

static const dowel_param params[] = {
    {"rate", "A rate.", "1", NULL, 0, 10, DOWEL_REAL, 0, sizeof(struct opts), 0},
};
OPTIONS(params);
