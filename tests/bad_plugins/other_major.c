/* Built for another major version under this one's symbol. */
#include "bad.h"

HEADER(DOWEL_MAGIC, 2, 0, sizeof(dowel_module), 1, plugins);
