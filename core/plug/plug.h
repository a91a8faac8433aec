/* Plugins: finding, checking, loading, configuring and calling them. */
#ifndef DW_PLUG_PLUG_H
#define DW_PLUG_PLUG_H

#include <dowel/plugin.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

/* ---- registry: where plugins come from ---- */
typedef struct dw_registry dw_registry;
/* dirs: --plugin-dir options and the recipe's list, absolute, each an existing folder. After them
 * come DOWEL_PLUGIN_PATH (absolute entries only), the user's data folder, and the installation: the
 * compiled-in folder, or, for a program that still lies in its build tree, that tree's plugins/. */
dw_status dw_registry_create(const char *const *dirs, size_t n_dirs, dw_registry **out,
                             dw_err *err);
void dw_registry_destroy(dw_registry *r); /* never dlcloses; accepts NULL */

/* A checked, loaded plugin: a copy of its tables in zero-filled structs of our own size. */
typedef struct dw_plugin_info {
    const char *path; /* of the file */
    char sha256[65];
    dowel_plugin plugin; /* its kind tables point at the copies below */
    dowel_objective objective;
    dowel_estimator estimator;
    dowel_reward reward;
    dowel_judge judge;
} dw_plugin_info;

/* name: an id ("dpo", "org.example.brevity") or a path with a slash (relative to base_dir; NULL:
 * the working directory). An unknown id gives the nearest one. Loads the file on first use. Two
 * files that offer one id are an error that names both, unless they are copies of each other. */
dw_status dw_registry_find(dw_registry *r, const char *name, const char *base_dir,
                           const dw_plugin_info **out, dw_err *err);
/* Loads every file of every directory; a file that is refused is logged as a warning. */
dw_status dw_registry_load_all(dw_registry *r, dw_err *err);
size_t dw_registry_count(const dw_registry *r);
const dw_plugin_info *dw_registry_at(const dw_registry *r, size_t i);
/* Checks one file by itself; for tests and `dowel plugins FILE`. */
dw_status dw_registry_load_file(dw_registry *r, const char *path, dw_err *err);

/* "id version - about" and one line per option, as `dowel plugins ID` prints. */
void dw_plugin_describe(const dw_plugin_info *p, dw_buf *out);
void dw_plugin_describe_json(const dw_plugin_info *p, dw_buf *out);

/* ---- options ---- */
/* Fills every default and checks every given value of a JSON object (may be NULL) against the
 * table. Appends canonical JSON of the complete options to `full` (may be NULL). base_dir makes
 * DOWEL_PATH options absolute. Scheduled options ({"schedule": ...}) must be DOWEL_TUNABLE numbers;
 * their ends are range-checked. */
dw_status dw_options_check(const dw_plugin_info *p, const dw_json *given, const char *base_dir,
                           dw_buf *full, dw_err *err);

/* ---- instances ---- */
typedef struct dw_instance dw_instance;
/* Collects what a plugin reports through dowel_host.metric. */
typedef void (*dw_metric_fn)(void *ctx, const char *instance, const char *name, uint32_t fold,
                             double value, double weight);
typedef struct dw_instance_spec {
    const dw_plugin_info *info;
    const char *name;       /* the recipe's name for it, for messages, metrics, random() */
    const dw_json *options; /* complete, as written by dw_options_check; NULL: all defaults.
                               Scheduled ones start at their first value, then dw_instance_set */
    uint64_t seed;
    dw_metric_fn metric;
    void *metric_ctx;
} dw_instance_spec;
dw_status dw_instance_create(const dw_instance_spec *s, dw_instance **out, dw_err *err);
void dw_instance_destroy(dw_instance *i); /* accepts NULL */
const dw_plugin_info *dw_instance_info(const dw_instance *i);
const char *dw_instance_name(const dw_instance *i);
/* Writes a tunable option between calls. */
dw_status dw_instance_set(dw_instance *i, const char *option, double value, dw_err *err);
/* From now on dowel_host.cancelled() turns true `seconds` after a call began; 0: never. */
void dw_instance_limit(dw_instance *i, double seconds);
/* What dowel_host.cancelled() answers everywhere: set by a signal handler (async-signal-safe). */
void dw_plug_cancel(bool stop);
bool dw_plug_cancelled(void);
const dowel_host *dw_instance_host(dw_instance *i); /* goes into dowel_batch.host */

/* Every call of a plugin goes through these: breadcrumb, status to exit code, message prefixed with
 * the instance's name, floating-point mode and locale compared and restored, canaries behind output
 * arrays, NaN and infinity in outputs refused where they may not be, scratch memory released. */
/* Fills in *ask. Where options are scheduled it asks at both ends of each as well and gives the
 * union. An estimator without observe() asks for nothing. */
dw_status dw_call_observe(dw_instance *i, bool estimator, dowel_request *ask, dw_err *err);
/* Adds to sum [n_total]; does nothing for objectives without survey(). */
dw_status dw_call_survey(dw_instance *i, const dowel_batch *in, double *sum, dw_err *err);
/* Adds to *loss, to the columns' grad and to in->tally, all or (on error) none: a loss or
 * derivative that is not finite, or a derivative at a token that does not count, is an error. */
dw_status dw_call_loss(dw_instance *i, const dowel_batch *in, double *loss, dw_err *err);
dw_status dw_call_step_end(dw_instance *i, uint64_t step, const double *tally, dw_err *err);
/* out's arrays hold the values "before" (plugin.h); on error they still do. */
dw_status dw_call_estimate(dw_instance *i, const dowel_batch *rollout, dowel_credit *out,
                           dw_err *err);

/* Span values and reasons of one score call. */
typedef struct dw_span {
    uint32_t sample, credit;
    uint64_t begin, end;
    double value;
} dw_span;
typedef struct dw_score_result {
    double *total; /* [n], NaN: no opinion */
    char **why;    /* [n], NULL where nothing was said */
    dw_span *span;
    size_t n_span;
    uint32_t n;
} dw_score_result;
/* Allocates the result's arrays; dw_score_result_finish frees them. A score outside the declared
 * range, or infinite, is an error that names the sample. */
dw_status dw_call_score(dw_instance *i, const dowel_sample *const *in, uint32_t n,
                        dw_score_result *out, dw_err *err);
void dw_score_result_finish(dw_score_result *r);

/* State: a length-checked blob; empty for plugins without save(). */
dw_status dw_instance_save(dw_instance *i, dw_buf *out, dw_err *err);
dw_status dw_instance_load(dw_instance *i, const void *bytes, size_t n, uint32_t state_version,
                           dw_err *err);

/* ---- conformance: `dowel check` ---- */
typedef struct dw_check_request {
    const char *word; /* an id, or an absolute path when `file` */
    bool file, json;
    const char *only; /* one test, in this process; NULL: all, each in a child */
    uint64_t seed;
    double limit; /* seconds a test may take */
    /* After every line: may print and clear the buffer. NULL: all of it stays in `out`. */
    void (*line)(void *ctx, dw_buf *out);
    void *line_ctx;
} dw_check_request;
/* Appends TAP (or a JSON object a line) and counts the tests that failed. The process must not have
 * called the plugin before. */
dw_status dw_check_run(dw_registry *r, const dw_check_request *ask, dw_buf *out, size_t *failed,
                       dw_err *err);
void dw_check_list(dw_buf *out); /* a line per test: name, description */

#endif
