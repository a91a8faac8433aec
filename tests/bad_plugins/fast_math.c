/* Linked with -ffast-math, which turns denormals off for the whole thread. */
#include "bad.h"

REWARD(good_score);
