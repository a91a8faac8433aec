/* A module without plugins. */
#include "bad.h"

HEADER(DOWEL_MAGIC, 1, 0, sizeof(dowel_module), 0, plugins);
