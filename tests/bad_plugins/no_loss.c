/* An objective without its loss. */
#include "bad.h"

OBJECTIVE(good_observe, NULL);
