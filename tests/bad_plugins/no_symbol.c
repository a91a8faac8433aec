/* Exports something, but not the constant. */
#include "bad.h"

DOWEL_EXPORT extern const int dowel_module_v0;
const int dowel_module_v0 = 1;
