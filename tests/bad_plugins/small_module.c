/* Claims a module table that ends early. */
#include "bad.h"

HEADER(DOWEL_MAGIC, 1, 0, 16, 1, plugins);
