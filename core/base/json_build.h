/* Trees of rows: built while they are scanned. */
#ifndef DW_BASE_JSON_BUILD_H
#define DW_BASE_JSON_BUILD_H

#include "base/json.h"

/* Frees a tree of dw_json_parse_row; false: it is none of those. */
bool dw_json_build_free(dw_json *root);

#endif
