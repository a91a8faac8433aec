/* Built against a later header, whose additions this host does not know. */
#include "bad.h"

HEADER(DOWEL_MAGIC, DOWEL_ABI_MAJOR, DOWEL_ABI_MINOR + 7, sizeof(dowel_module), 1, plugins);
