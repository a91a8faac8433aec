/* A reward without its scoring function. */
#include "bad.h"

REWARD(NULL);
