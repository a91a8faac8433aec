/* What the files of `dowel check` share: one test's context, settings of the options, random steps
 * that give a plugin what it asks for, and results that can be compared. */
#ifndef DW_PLUG_CHECK_H
#define DW_PLUG_CHECK_H

#include "plug/internal.h"

/* ---- check.c: one test, in a process of its own ---- */
typedef struct dw_check {
    const dw_plugin_info *info;
    uint64_t seed;
    char *now;      /* shared with the parent: what is being tried, for crashes */
    dw_arena arena; /* of one test */
    char *found;    /* what is wrong; in the arena */
    char *note;     /* what was looked at; in the arena */
    char *skipped;  /* why the test does not apply; in the arena */
    bool refused;   /* the plugin would not have this step, in words; `found` has them */
} dw_check;
enum { DW_CHECK_NOW = 1024 };

/* A test: true when nothing is wrong. */
typedef bool (*dw_check_fn)(dw_check *c);
__attribute__((format(printf, 2, 3))) bool dw_check_fail(dw_check *c, const char *fmt, ...);
__attribute__((format(printf, 2, 3))) bool dw_check_skip(dw_check *c, const char *fmt, ...);
__attribute__((format(printf, 2, 3))) void dw_check_note(dw_check *c, const char *fmt, ...);
__attribute__((format(printf, 2, 3))) void dw_check_now(dw_check *c, const char *fmt, ...);
uint64_t dw_check_below(const dw_check *c, uint64_t key, uint64_t i, uint64_t n);
double dw_check_uniform(const dw_check *c, uint64_t key, uint64_t i, double lo, double hi);

/* ---- check_options.c ---- */
/* Which settings of the options a test goes through. The defaults always come first. */
enum { DW_CHECK_CHOICES = 1, DW_CHECK_BOUNDS = 2, DW_CHECK_RANDOM = 4, DW_CHECK_EXTREME = 8 };
typedef struct dw_setting {
    const char *text; /* JSON of what differs from the defaults */
    dw_json *full;    /* complete; never freed, a test's process is short */
    bool defaults;
} dw_setting;
/* `random` of them drawn, near the defaults (DW_CHECK_RANDOM) or anywhere (DW_CHECK_EXTREME).
 * False: an option cannot be set. */
bool dw_check_settings(dw_check *c, unsigned which, size_t random, dw_setting **out, size_t *n);

/* How a fold of metrics ends. */
typedef struct dw_check_metric {
    char name[104];
    uint32_t fold;
    double sum, weight, least, most;
} dw_check_metric;
typedef struct dw_check_metrics {
    dw_check_metric *m;
    size_t n, cap;
} dw_check_metrics;

/* An instance with these options, and what it asks for. DW_CHECK_REFUSED: the plugin says in words
 * that the options do not go together, which is its right but for the defaults. */
typedef enum dw_opened { DW_CHECK_OPEN, DW_CHECK_REFUSED, DW_CHECK_BROKEN } dw_opened;
dw_opened dw_check_open(dw_check *c, const dw_setting *s, dw_check_metrics *m, dw_instance **out);

/* ---- check_batch.c ---- */
enum { DW_PROBE_COLUMNS = 64, DW_PROBE_SHAPES = 6 };
typedef struct dw_probe dw_probe;
struct dw_probe {
    dowel_batch b;
    dowel_column col[DW_PROBE_COLUMNS];
    uint32_t *start, *mark_start, *from; /* from: which sequence of the whole step */
    uint8_t *mask, *mark, *stop, *role;
    int32_t *mate, *group;
    uint64_t *id;
    uint32_t *unit; /* which sequences one call has to see together: same number, in order */
    uint32_t n_unit;
    dowel_request ask; /* of the objective */
    uint32_t shape;    /* the DOWEL_TEXTS bit it is made like */
};
/* shape: one bit of feeds_on. odd: holes in the mask, an empty answer, one that does not count.
 * large: a thousand sequences. fenced: an unreadable page behind every array. bare: without the
 * columns that the data need not have. */
typedef struct dw_probe_spec {
    uint32_t shape, units;
    uint64_t key;
    bool odd, fenced, bare;
} dw_probe_spec;
typedef enum dw_probe_view { DW_VIEW_ALL, DW_VIEW_SURVEY, DW_VIEW_LOSS } dw_probe_view;

/* A random step for the objective of `i`. Where the plugin is an estimator as well and the shape is
 * a rollout, an instance of its own gives advantages, pairs and labels. DW_CHECK_REFUSED: that
 * estimator will not have it. */
dw_opened dw_probe_make(dw_check *c, const dw_setting *set, const dw_probe_spec *spec,
                        dw_probe **out);
/* A random rollout for the estimator of `i`. */
dw_opened dw_probe_rollout(dw_check *c, const dw_setting *set, const dw_probe_spec *spec,
                           dw_probe **out);
/* The given sequences, as a part of the same step. SURVEY: the model's columns are NaN but for
 * MISMATCHED; LOSS: only what loss() sees. */
dw_probe *dw_probe_part(dw_check *c, const dw_probe *p, const uint32_t *seq, uint32_t n,
                        dw_probe_view view, bool fenced);
/* The sequences of units order[first .. first + n). */
uint32_t dw_probe_units(const dw_probe *p, const uint32_t *order, uint32_t first, uint32_t n,
                        uint32_t *seq);
/* Where the rows of sequence s begin in column k; row n_seq is where the column ends. */
uint32_t dw_probe_row(const dw_probe *p, uint32_t k, uint32_t s);
const char *dw_probe_shape_name(uint32_t shape);

/* ---- check_result.c: what a step or a call came to ---- */
typedef struct dw_result {
    double loss;
    double *x; /* derivatives, totals, tallies; or what an estimator gave */
    const char **name;
    size_t n, cap;
    dw_check_metrics metrics;
} dw_result;

/* One step: survey over all parts, then loss over all. cut: into how many parts; order: of units;
 * dealt over n_inst instances. 1 done, 0 refused with words (DOWEL_E_ARG), -1 wrong (found is set).
 */
typedef struct dw_step_spec {
    const uint32_t *order; /* NULL: as they are */
    uint32_t cut;          /* 0: one */
    bool fenced, end;      /* end: step_end() as well */
    const double *total;   /* NULL: surveyed */
} dw_step_spec;
int dw_check_step(dw_check *c, dw_instance *const *inst, uint32_t n_inst, const dw_probe *p,
                  const dw_step_spec *spec, dw_result *out);
int dw_check_estimate(dw_check *c, dw_instance *i, const dw_probe *p, const uint32_t *order,
                      dw_result *out);
/* Objective and estimator in turn, `steps` times from `first`, with random steps made of key. */
int dw_check_episode(dw_check *c, dw_instance *i, const dw_setting *set, uint64_t first,
                     uint64_t steps, dw_result *out);
/* NULL: the same up to tol (0: to the bit); else what differs. */
const char *dw_check_differ(dw_check *c, const dw_result *a, const dw_result *b, double tol);
void dw_check_collect(void *ctx, const char *instance, const char *name, uint32_t fold,
                      double value, double weight);
double dw_check_metric_value(const dw_check_metric *m);

/* ---- check_text.c: samples for rewards and judges ---- */
typedef struct dw_samples {
    dowel_sample *s;
    const dowel_sample **list;
    uint32_t n;
} dw_samples;
dw_samples dw_check_samples(dw_check *c, const dw_setting *set, uint64_t key, uint32_t n);
int dw_check_score(dw_check *c, dw_instance *i, const dowel_sample *const *in, uint32_t n,
                   dw_result *out);
int dw_check_compare(dw_check *c, dw_instance *i, const dowel_pair *const *in, uint32_t n,
                     dw_result *out);

/* ---- the tests, by theme ---- */
bool dw_test_params_default(dw_check *c);
bool dw_test_params_bounds(dw_check *c);
bool dw_test_params_random(dw_check *c);
bool dw_test_create_destroy(dw_check *c);
bool dw_test_observe(dw_check *c);
bool dw_test_null_columns(dw_check *c);
bool dw_test_odd(dw_check *c);
bool dw_test_gradcheck(dw_check *c);
bool dw_test_split(dw_check *c);
bool dw_test_permute(dw_check *c);
bool dw_test_stateless(dw_check *c);
bool dw_test_canary(dw_check *c);
bool dw_test_pure(dw_check *c);
bool dw_test_reentrant(dw_check *c);
bool dw_test_cancelled(dw_check *c);
bool dw_test_state_roundtrip(dw_check *c);
bool dw_test_state_bytes(dw_check *c);
bool dw_test_state_empty(dw_check *c);
bool dw_test_state_truncated(dw_check *c);
bool dw_test_state_random(dw_check *c);
bool dw_test_batch_size(dw_check *c);
bool dw_test_spans(dw_check *c);
bool dw_test_judge_sane(dw_check *c);

#endif
