/* Models by their name, as they lie in the cache of Hugging Face on this machine. */
#ifndef DW_MODEL_HUB_H
#define DW_MODEL_HUB_H

#include "base/arena.h"

/* The folder of "ORG/NAME", "NAME" or either with "@REVISION" (a branch, a tag or a commit; main
 * without one) in $HF_HUB_CACHE, else $HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else
 * ~/.cache/huggingface/hub; NULL where it is not there. Nothing is downloaded. */
char *dw_hub_find(dw_arena *a, const char *name);
/* `path` where something of that name exists or the cache has nothing, else what the cache has. */
const char *dw_hub_place(dw_arena *a, const char *path);
/* Of a folder of the cache ("CACHE/models--NAME/snapshots/REVISION"; may be a link or relative)
 * the part that its files' links stay beneath ("CACHE/models--NAME") and, in *rest, the way from
 * there to the folder ("snapshots/REVISION"); NULL for any other folder. */
char *dw_hub_root(dw_arena *a, const char *dir, char **rest);

#endif
