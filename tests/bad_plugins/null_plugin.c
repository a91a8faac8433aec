/* A hole in the list of plugins. */
#include "bad.h"

DOWEL_MODULE(NULL);
