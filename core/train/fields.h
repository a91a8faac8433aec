/* Typed access to the members of one object of a plan, with the dotted path in every message. */
#ifndef DW_TRAIN_FIELDS_H
#define DW_TRAIN_FIELDS_H

#include "base/arena.h"
#include "base/json.h"

/* An object of the plan and where it stands: "tasks.main.rollout", "" for the root. */
typedef struct dw_fields {
    const dw_json *v;
    const char *path;
    dw_arena *arena; /* of paths and lists */
    dw_err *err;
} dw_fields;

/* Refuses with "PATH.KEY: <formatted>"; key NULL: about the object itself. */
__attribute__((format(printf, 3, 4))) dw_status dw_fields_fail(const dw_fields *f, const char *key,
                                                               const char *fmt, ...);
const char *dw_fields_path(const dw_fields *f, const char *key); /* in the arena */

/* v must be an object whose keys are all in the NULL-terminated list. */
dw_status dw_fields_open(const dw_fields *parent, const dw_json *v, const char *path,
                         const char *const *keys, dw_fields *out);
/* The member, or NULL when it is missing or null. */
const dw_json *dw_fields_get(const dw_fields *f, const char *key);

/* A missing key (or null) gives the fallback; the range is inclusive. */
dw_status dw_fields_int(const dw_fields *f, const char *key, int64_t fallback, int64_t lo,
                        int64_t hi, int64_t *out);
dw_status dw_fields_num(const dw_fields *f, const char *key, double fallback, double lo, double hi,
                        double *out);
dw_status dw_fields_bool(const dw_fields *f, const char *key, bool fallback, bool *out);
/* fallback NULL: the key must be there. Empty text and U+0000 are refused. */
dw_status dw_fields_str(const dw_fields *f, const char *key, const char *fallback,
                        const char **out);
/* One of the NULL-terminated names; *out is its index. */
dw_status dw_fields_choice(const dw_fields *f, const char *key, const char *const *names,
                           int fallback, int *out);
/* A list of texts; missing: none. */
dw_status dw_fields_list(const dw_fields *f, const char *key, const char *const **out, size_t *n);

/* [A-Za-z_][A-Za-z0-9_-]*, at most 64 bytes: names of tasks, rewards, objectives. */
bool dw_fields_is_name(const char *s);

#endif
