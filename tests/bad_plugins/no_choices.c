/* A choice between nothing. */
#include "bad.h"

static const char *const none[] = {NULL};
static const dowel_param params[] = {
    DOWEL_OPT_CHOICE(struct opts, count, "one", none, 0, "A choice."),
};
OPTIONS(params);
