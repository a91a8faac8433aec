/* The constant does not start with the magic number. */
#include "bad.h"

HEADER(0x12345678, 1, 0, sizeof(dowel_module), 1, plugins);
