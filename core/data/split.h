/* Where the prompt ends in a pair whose halves both hold it. */
#ifndef DW_DATA_SPLIT_H
#define DW_DATA_SPLIT_H

#include <stdbool.h>

#include "base/buf.h"

/* Returns how many bytes of both texts are the prompt, less than either length; 0 when nothing
 * fits. What both texts begin with is cut
 *  1. after the last `marker` that lies whole in it (*by_marker; NULL: skip this rule), else
 *  2. after the last turn header in it: a line that starts with a role name and a colon
 *     ("Assistant:", "### Response:", in any case), else
 *  3. after the last blank line in it, else
 *  4. before the word in which the texts part, and before the space in front of that word, which
 *     belongs to the word's token. */
size_t dw_split_prompt(dw_text chosen, dw_text rejected, const char *marker, bool *by_marker);

#endif
