/* What the files of plug/ share; nobody outside includes it. */
#ifndef DW_PLUG_INTERNAL_H
#define DW_PLUG_INTERNAL_H

#include <locale.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "plug/plug.h"

/* ---- trust.c: may this file be loaded? ---- */
/* What trust depends on, so that a test can be somebody else. */
typedef struct dw_identity {
    uid_t user;        /* effective */
    bool has_sudo_uid; /* root under sudo: the caller is trusted as well */
    uid_t sudo_uid;
    bool secure; /* set-uid or the like: nothing is loaded */
} dw_identity;
dw_identity dw_identity_now(void);
/* what: "file" or "folder". One line: who owns or may write it, and what to do. */
dw_status dw_trust_stat(const dw_identity *me, const struct stat *st, const char *what,
                        const char *path, dw_err *err);
/* Checks the folder of the name and of what it points at, and the file; *fd is the checked file. */
dw_status dw_trust_open(const dw_identity *me, const char *path, int *fd, dw_err *err);

/* ---- fpmode.c: floating-point mode and decimal point of the calling thread ---- */
typedef struct dw_fpmode {
    uint64_t control;
    locale_t locale;
    char point[8];
} dw_fpmode;
dw_fpmode dw_fpmode_get(void);
/* What differs from `before`, as a phrase ("the floating-point mode (denormals become zero)"), or
 * NULL; restores it. */
const char *dw_fpmode_restore(const dw_fpmode *before);

/* ---- module.c: one file, loaded at most once a process and never unloaded ---- */
typedef struct dw_module {
    dev_t dev;
    ino_t ino;
    char *path;
    char sha256[65];
    dw_plugin_info *info;
    size_t n_info;
    char *refused; /* the message, NULL when it was accepted */
} dw_module;
dw_status dw_module_load(const char *path, const dw_module **out, dw_err *err);

/* ---- tables.c: the checks of what a module exports ---- */
/* Fills *info (dw_alloc) with copies. `file` is for messages. */
dw_status dw_tables_copy(const char *file, const dowel_module *m, dw_plugin_info **info, size_t *n,
                         dw_err *err);

/* ---- params.c ---- */
typedef struct dw_value {
    int64_t i; /* BOOL, INT, CHOICE */
    double r;  /* REAL */
    const char *s;
} dw_value;
/* Messages have the form "NAME: ..."; status DW_E_RECIPE. */
dw_status dw_param_from_text(const dowel_param *p, const char *text, dw_arena *a, dw_value *v,
                             dw_err *err);
dw_status dw_param_from_json(const dowel_param *p, const dw_json *given, const char *base_dir,
                             dw_arena *a, dw_value *v, dw_err *err);
dw_status dw_param_range(const dowel_param *p, double x, dw_err *err);
void dw_param_store(const dowel_param *p, const dw_value *v, void *config);
const dowel_param *dw_param_find(const dowel_plugin *p, const char *name);
size_t dw_param_bytes(uint32_t type); /* of the field; 0: no such type */
const char *dw_param_type_name(uint32_t type);
bool dw_param_numeric(const dowel_param *p);
/* The values between which a schedule moves, and the first of them. */
typedef struct dw_param_span {
    double first, lowest, highest;
} dw_param_span;
dw_status dw_param_schedule(const dowel_param *p, const dw_json *given, dw_param_span *out,
                            dw_err *err);

/* ---- field.c: a field of a row by dotted path ---- */
/* `text` must have passed dw_json_parse. False: there is none. */
bool dw_field_find(dw_arena *a, dw_text text, const char *path, dw_text *raw);

/* ---- instance.c, host.c ---- */
typedef struct dw_scheduled {
    const dowel_param *param;
    dw_param_span span;
} dw_scheduled;

struct dw_instance {
    const dw_plugin_info *info;
    char *name;
    char *label; /* "NAME (ID)", for messages */
    void *config;
    void *self;
    bool created;
    uint64_t seed; /* of random(): run seed and name, mixed */
    dw_metric_fn metric;
    void *metric_ctx;
    double time_limit; /* seconds a call may take, 0: none */
    dowel_host host;
    dw_scheduled *scheduled;
    size_t n_scheduled;
    dw_arena arena; /* option texts */
    pthread_mutex_t lock;
    dw_arena shared; /* scratch asked for by threads of the plugin's own; under lock */
    unsigned in_flight;
    dowel_status answered; /* what the last call returned itself; DOWEL_OK where the host objects */
    char fault[160];       /* what a host service objected to; under lock */
};

/* One call in progress, on the stack of the thread that makes it. */
typedef struct dw_call {
    dw_instance *of;
    const char *function; /* "loss" */
    struct dw_call *outer;
    dw_arena scratch;
    dw_fpmode mode;
    double deadline; /* dw_now() scale, 0: none */
    char crumb[128];
} dw_call;
void dw_host_fill(dw_instance *i);
void dw_host_enter(dw_call *call); /* makes it the calling thread's innermost */
void dw_host_leave(dw_call *call);

/* ---- call.c ---- */
void dw_call_begin(dw_call *c, dw_instance *i, const char *function);
/* Ends the call: status, floating-point mode, complaints of the host's services. `e` as the plugin
 * filled it in. */
dw_status dw_call_end(dw_call *c, dowel_status st, const dowel_err *e, dw_err *err);
dowel_err dw_call_err(void);
/* Between begin and end, when an output was wrong: "NAME (ID): FUNCTION: ...". */
__attribute__((format(printf, 4, 5))) dw_status dw_call_refuse(dw_call *c, dw_status st,
                                                               dw_err *err, const char *fmt, ...);

/* An output array with canaries on both sides. */
typedef struct dw_guarded {
    void *data;
    size_t bytes;
} dw_guarded;
void *dw_guard_make(dw_call *c, dw_guarded *g, const void *from, size_t bytes); /* NULL: zeros */
bool dw_guard_intact(const dw_guarded *g);

#endif
