/*
 * dowel/plugin.h - the complete contract between dowel and a plugin.
 *
 * A plugin is a shared object that exports one constant, dowel_module_v1.
 * It includes this header and links against nothing from dowel: whatever it
 * needs from the host arrives as a table of function pointers.
 *
 * Rules that hold everywhere below
 *   text      UTF-8, NUL-terminated; a dowel_text also carries its length.
 *   memory    Nobody frees what the other side allocated. Pointers passed to a
 *             call are valid until it returns, unless a comment says longer.
 *             Output arrays belong to the host and are already allocated.
 *   threads   [main]  one thread, never at the same time as another call on
 *                     the same instance;
 *             [work]  any thread, but one call at a time per instance unless
 *                     the plugin sets DOWEL_REENTRANT;
 *             [any]   any thread, at any time.
 *   process   Do not call exit, setlocale, signal or fesetenv, do not start
 *             threads that outlive a call, do not build with -ffast-math.
 *   growth    A struct that crosses the border starts with its size. New fields
 *             are only ever appended; test for one with DOWEL_HAS(). dowel_text
 *             and dowel_column have no size because they are frozen; the size of
 *             a dowel_param stands in its plugin.
 */
#ifndef DOWEL_PLUGIN_H
#define DOWEL_PLUGIN_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DOWEL_MAGIC     0x4c574f44u /* "DOWL" */
#define DOWEL_ABI_MAJOR 1u
#define DOWEL_ABI_MINOR 0u

#define DOWEL_EXPORT __attribute__((visibility("default")))
#define DOWEL_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Does the size-prefixed struct *p, as the other side built it, have `field`? */
#define DOWEL_HAS(p, field)                                                    \
    ((size_t)((const char *)(&(p)->field + 1) - (const char *)(p)) <= (p)->size)

/* ---- status and errors ------------------------------------------------- */

typedef int32_t dowel_status;
enum {
    DOWEL_OK = 0,
    DOWEL_E_ARG = -1,       /* an option or an input is wrong */
    DOWEL_E_NOMEM = -2,
    DOWEL_E_IO = -3,
    DOWEL_E_STATE = -4,     /* saved state cannot be read by this version */
    DOWEL_E_LIMIT = -5,     /* a deadline or a quota was exceeded */
    DOWEL_E_CANCELLED = -6,
    DOWEL_E_FAULT = -7,     /* anything else */
};

/* Filled in by the callee when it returns a negative status. */
typedef struct dowel_err {
    uint32_t size;
    int32_t  sample;        /* which sample was at fault, or -1 */
    char     text[496];     /* one line, no trailing newline */
} dowel_err;

DOWEL_PRINTF(3, 4)
static inline dowel_status dowel_fail(dowel_err *err, dowel_status status,
                                      const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    return status;
}

typedef struct dowel_text {
    const char *ptr; /* ptr[len] is NUL; the text may hold others */
    uint64_t    len; /* bytes */
} dowel_text;

/* ---- what the host offers ---------------------------------------------- */

enum { DOWEL_DEBUG = 0, DOWEL_INFO = 1, DOWEL_WARN = 2, DOWEL_ERROR = 3 };

/* How the host folds what several batches, threads and ranks report. */
enum { DOWEL_MEAN = 0, DOWEL_SUM = 1, DOWEL_MIN = 2, DOWEL_MAX = 3 };

typedef struct dowel_host dowel_host;
struct dowel_host {
    uint32_t size;
    uint16_t abi_major, abi_minor;
    void    *ctx; /* the host's own */

    /* [any] One line; the host adds time, level and the instance's name. */
    void (*log)(const dowel_host *host, int32_t level, const char *line);
    /* [any] During a call: a number for this step's metrics, under TRL's name
     * where the definition is TRL's ("rewards/margins"); the host puts task and
     * instance in front where a recipe has several. `weight` says how many items
     * a DOWEL_MEAN speaks for, so that cutting a step changes no metric. */
    void (*metric)(const dowel_host *host, const char *name, uint32_t fold,
                   double value, double weight);
    /* [any] During a call: zeroed memory that lives until that call returns.
     * Never NULL: the host stops the run when it cannot serve the request. */
    void *(*scratch)(const dowel_host *host, size_t bytes);
    /* [any] 64 random bits: a pure function of the run's seed, the instance's
     * name and the two arguments, so there is no state to save. */
    uint64_t (*random)(const dowel_host *host, uint64_t key, uint64_t index);
    /* [any] True once the call's deadline passed or the user interrupted. */
    bool (*cancelled)(const dowel_host *host);
    /* [any] During a call: a field of a sample's meta ("answer", "tests.0.input"):
     * strings unescaped, anything else as JSON; false when there is none. The
     * text lives in scratch memory. */
    bool (*field)(const dowel_host *host, const dowel_text *meta,
                  const char *path, dowel_text *value);
    /* [any] An optional interface by id ("dowel.http/1"), or NULL. */
    const void *(*extension)(const dowel_host *host, const char *id);
};

/* ---- options ------------------------------------------------------------ */

/* The host parses, range-checks and documents options from this table, and
 * stores the values in a plain struct of the plugin's own (see `offset`). */

enum {                 /* dowel_param.type     type of the struct's field      */
    DOWEL_BOOL = 1,    /*                      bool                            */
    DOWEL_INT = 2,     /*                      int64_t                         */
    DOWEL_REAL = 3,    /*                      double                          */
    DOWEL_STR = 4,     /*                      const char *                    */
    DOWEL_PATH = 5,    /*                      const char *, made absolute     */
    DOWEL_CHOICE = 6,  /*                      int64_t, an index into choices  */
    DOWEL_JSON = 7,    /*                      const char *, canonical JSON    */
};
enum {                             /* dowel_param.flags */
    DOWEL_TUNABLE = 1u << 0,       /* a recipe may schedule it; the host writes
                                      new values between calls, so read it in
                                      every call instead of keeping a copy */
    DOWEL_DEPRECATED = 1u << 1,    /* accepted with a warning that shows doc */
};

typedef struct dowel_param {
    const char        *name;       /* [a-z][a-z0-9_]* */
    const char        *doc;        /* one sentence, for help and completion */
    const char        *fallback;   /* default, as text; NULL: must be given */
    const char *const *choices;    /* NULL-terminated, DOWEL_CHOICE only */
    double             min, max;   /* inclusive, for DOWEL_INT and DOWEL_REAL */
    uint32_t           type, flags;
    uint32_t           offset;     /* offsetof(struct of options, field) */
    uint32_t           reserved;
} dowel_param;

/* DOWEL_OPT_REAL(struct opts, beta, "0.1", 0, 10, 0, "...") fails to compile
 * when the field has another type than the option. */
#ifdef __cplusplus
#define DOWEL_FIELD_(S, f, T)                                                  \
    ((uint32_t)(offsetof(S, f) + 0 * sizeof(static_cast<T *>(&((S *)0)->f))))
#else
#define DOWEL_FIELD_(S, f, T) ((uint32_t)_Generic(((S *)0)->f, T: offsetof(S, f)))
#endif
#define DOWEL_OPT_BOOL(S, f, def, flags, doc)                                  \
    {#f, doc, def, NULL, 0, 1, DOWEL_BOOL, flags, DOWEL_FIELD_(S, f, bool), 0}
#define DOWEL_OPT_INT(S, f, def, lo, hi, flags, doc)                           \
    {#f, doc, def, NULL, lo, hi, DOWEL_INT, flags, DOWEL_FIELD_(S, f, int64_t), 0}
#define DOWEL_OPT_REAL(S, f, def, lo, hi, flags, doc)                          \
    {#f, doc, def, NULL, lo, hi, DOWEL_REAL, flags, DOWEL_FIELD_(S, f, double), 0}
#define DOWEL_OPT_STR(S, f, def, flags, doc)                                   \
    {#f, doc, def, NULL, 0, 0, DOWEL_STR, flags, DOWEL_FIELD_(S, f, const char *), 0}
#define DOWEL_OPT_PATH(S, f, def, flags, doc)                                  \
    {#f, doc, def, NULL, 0, 0, DOWEL_PATH, flags, DOWEL_FIELD_(S, f, const char *), 0}
#define DOWEL_OPT_CHOICE(S, f, def, list, flags, doc)                          \
    {#f, doc, def, list, 0, 0, DOWEL_CHOICE, flags, DOWEL_FIELD_(S, f, int64_t), 0}
#define DOWEL_OPT_JSON(S, f, def, flags, doc)                                  \
    {#f, doc, def, NULL, 0, 0, DOWEL_JSON, flags, DOWEL_FIELD_(S, f, const char *), 0}

/* ---- saved state -------------------------------------------------------- */

/* Both calls move exactly n bytes or fail; there are no short transfers. */
typedef struct dowel_sink dowel_sink;
struct dowel_sink {
    uint32_t size, reserved;
    dowel_status (*write)(dowel_sink *to, const void *bytes, size_t n);
};
typedef struct dowel_source dowel_source;
struct dowel_source {
    uint32_t size, reserved;
    uint64_t left; /* bytes not yet read */
    dowel_status (*read)(dowel_source *from, void *bytes, size_t n);
};

/* ---- kind 1: objective -------------------------------------------------- */

/* What an objective may look at. A batch is a set of columns; a new observable
 * is a new number here (they end at 63) and changes no struct. "d" marks the
 * columns that have a gradient. Rows are completion tokens; marks (mark_start) or
 * sequences where it says so. Columns below 40 are there when observe() asked for
 * them; WEIGHT always; the others when the data or the rollout has them. */
enum {
    DOWEL_LOGP = 0,         /* d  log-probability of the token, policy          */
    DOWEL_ENTROPY = 1,      /* d  of the policy's distribution at the token     */
    DOWEL_VALUE = 2,        /* d  critic, before the token; a column per head   */
    DOWEL_SCORE = 3,        /* d  marks: reward heads, a column per channel     */
    DOWEL_MEAN_LOGP = 4,    /* d  mean log-probability over the vocabulary      */
    DOWEL_DIVERGENCE = 5,   /* d  from another model, as set in observe()       */
    DOWEL_CHOICES = 6,      /* d  marks: log-probabilities of the listed tokens */
    DOWEL_REF_LOGP = 16,    /*    under the frozen reference                    */
    DOWEL_OLD_LOGP = 17,    /*    under the policy before this update           */
    DOWEL_SAMPLER_LOGP = 18, /*   as the sampler reported it                    */
    DOWEL_TEACHER_LOGP = 19,
    DOWEL_OLD_VALUE = 20,   /*    as VALUE, before this update                  */
    DOWEL_ADVANTAGE = 21,   /*    from an estimator                             */
    DOWEL_RETURN = 22,      /*    from an estimator, a column per head of VALUE */
    DOWEL_TOP1 = 23,        /*    1 where the token was the most likely one     */
    DOWEL_COLLISION = 24,   /*    sum over the vocabulary of p squared          */
    DOWEL_TOP_PROB = 25,    /*    the largest probability                       */
    DOWEL_MEAN_LOGIT = 26,  /*    mean raw logit over the vocabulary            */
    DOWEL_HELD_LOGP = 27,   /*    LOGP again, for factors that the loss takes as
                                  constants: they are computed from this one, so
                                  that `dowel check` can hold them still        */
    DOWEL_WEIGHT = 40,      /*    sequence: of its row, or from an estimator    */
    DOWEL_LABEL = 41,       /*    sequence: +1 wanted, -1 unwanted, 0 neither   */
    DOWEL_TARGET = 42,      /*    sequence: probability that the label is right */
    DOWEL_MARGIN = 43,      /*    sequence: by how much it is better            */
    DOWEL_REWARD = 44,      /*    sequence: mixed total, then each part         */
    DOWEL_TOKEN_REWARD = 45, /*   what spans put on it: total, then each part   */
    DOWEL_MARK_LABEL = 46,  /*    marks: probability that the step is right     */
    DOWEL_RANK = 47,        /*    sequence: place in its list, 1 best, ties tie */
    DOWEL_FIELD = 48,       /*    sequence: the row's numbers listed in observe() */
};                          /* NaN in 44 to 48: no opinion, no span, no label   */
#define DOWEL_BIT(column) (UINT64_C(1) << (column))

typedef struct dowel_column {
    const double *x;          /* rows * width, row-major; NULL: not asked for */
    double       *grad;       /* same shape, zeroed before; NULL: a constant or
                                 listed in dowel_request.detached */
    uint32_t      rows, width;
} dowel_column;

enum { DOWEL_STOP_EOS = 1, DOWEL_STOP_LENGTH = 2, DOWEL_STOP_STRING = 3 };

enum {                        /* dowel_batch.role */
    DOWEL_TRAINED = 0,
    DOWEL_MISMATCHED = 1,     /* with another row's answer: only survey() sees it */
    DOWEL_GREEDY = 2,         /* for baselines: only estimators see it */
    DOWEL_GOLD = 3,           /* the good answer that comes with a pair: same group */
    DOWEL_OTHER = 4,          /* sampled from the reference or the mixture */
};

/* Several sequences, packed: s owns tokens start[s] .. start[s+1]-1. The halves
 * of a pair and the members of a list are never split over two batches; those of
 * a group may be, unless observe() asks for more. */
typedef struct dowel_batch {
    uint32_t size;
    uint32_t n_seq, n_tok, n_col;
    uint64_t step;            /* optimiser step, from 0 */
    double   step_seqs;       /* sequences (DOWEL_TRAINED and DOWEL_OTHER) with a
                                 counted token, and */
    double   step_toks;       /* those tokens, in this objective's part of the
                                 whole step: divide by these; never 0 */
    double   max_tok;         /* longest completion that could have come back  */
    double   temperature;     /* that the log-probabilities were taken at      */
    const uint32_t *start;    /* n_seq + 1 */
    const uint8_t  *mask;     /* n_tok: 1 where the token counts */
    const uint8_t  *mark;     /* n_tok: 1 where SCORE and CHOICES have rows */
    const uint32_t *mark_start; /* n_seq + 1: which of those rows are s's */
    const int32_t  *mate;     /* n_seq: the other half of a pair, or -1 */
    const int32_t  *group;    /* n_seq: same number, same prompt */
    const uint8_t  *stop;     /* n_seq: DOWEL_STOP_*, 0 for given text */
    const uint8_t  *role;     /* n_seq: DOWEL_TRAINED and so on */
    const uint64_t *id;       /* n_seq: the same however a step is cut; a key for
                                 random() */
    const char *const *part;  /* names of REWARD's columns from the second on, */
    const double   *part_weight; /* and their weights in this step's mix */
    const double   *total;    /* what survey() found in the whole step */
    double         *tally;    /* loss(): add here what step_end() is to know */
    const dowel_column *col;  /* n_col, indexed by DOWEL_LOGP and so on */
    const dowel_host *host;
} dowel_batch;

enum {                        /* dowel_request.together: what one call sees */
    DOWEL_BY_ROW = 0,         /* any cut that keeps pairs and lists whole */
    DOWEL_BY_GROUP = 1,
    DOWEL_BY_STEP = 2,        /* all of it: costs a second forward pass */
};
enum {                        /* dowel_request.extras: sequences to add */
    DOWEL_WITH_MISMATCHED = 1u << 0, /* each prompt with the next row's answer */
    DOWEL_WITH_GREEDY = 1u << 1,     /* the greedy answer to each prompt */
    DOWEL_WITH_REFERENCE = 1u << 2,  /* an answer sampled from the reference, */
    DOWEL_WITH_MIXTURE = 1u << 3,    /* or from the logits of both, mixed */
};
enum {                        /* dowel_request.divergence, q the other model */
    DOWEL_FORWARD_KL = 1,     /* KL(q|policy) */
    DOWEL_REVERSE_KL = 2,     /* KL(policy|q) */
    DOWEL_JENSEN_SHANNON = 3, /* with `beta` */
    DOWEL_SORTED_DISTANCE = 4, /* sum over ranks of the difference; no top_k */
};
enum { DOWEL_TEACHER = 0, DOWEL_REFERENCE = 1 }; /* dowel_request.against */

/* What observe() may ask for; all zero before. */
typedef struct dowel_request {
    uint32_t size;
    uint32_t together, extras;
    uint32_t value_width;     /* heads of VALUE and channels of SCORE; */
    uint32_t score_width;     /* 0 means 1 */
    uint32_t divergence, against;
    uint32_t reserved;
    uint64_t columns;         /* DOWEL_BIT()s */
    uint64_t detached;        /* those of them that need no gradient */
    double   beta;
    double   temperature;     /* of both sides of the divergence; 0: the batch's */
    double   mixture;         /* share of the reference in DOWEL_WITH_MIXTURE */
    const char *const *choices; /* NULL-terminated token texts, or NULL */
    const char *const *fields;  /* NULL-terminated names for FIELD, or NULL */
    uint32_t top_k;           /* divergence over the policy's k likeliest tokens; */
    uint32_t tail;            /* 1: the others as one more, 0: renormalised;
                                 top_k 0: the whole vocabulary */
    uint32_t extra_samples;   /* of each kind in extras, per prompt; 0 means 1 */
    uint32_t some_taught;     /* 1: an answer may have no teacher, and then
                                 TEACHER_LOGP and the divergence are NaN */
} dowel_request;

enum {                        /* dowel_objective.feeds_on, any of them */
    DOWEL_TEXTS = 1u << 0, DOWEL_PAIRS = 1u << 1, DOWEL_LABELS = 1u << 2,
    DOWEL_ROLLOUTS = 1u << 3, DOWEL_LISTS = 1u << 4, DOWEL_STEPS = 1u << 5,
};

typedef struct dowel_objective {
    uint32_t size;
    uint32_t feeds_on;
    uint32_t n_total;         /* length of dowel_batch.total */
    uint32_t n_tally;         /* length of dowel_batch.tally */
    const char *const *shown; /* NULL-terminated: up to three metrics for the
                                 progress line; or NULL */
    /* [main] After create: what these options need. Where a recipe schedules an
     * option, called at its lowest and its highest value too; the host provides
     * whatever any of the calls asked for. */
    dowel_status (*observe)(void *self, dowel_request *ask, dowel_err *err);
    /* [work] Optional. Called with every batch of the step before the first
     * loss(): adds to sum what loss() has to know about the whole step. The
     * model's columns (below 16) are filled in for DOWEL_MISMATCHED sequences
     * only; elsewhere they are NaN. */
    dowel_status (*survey)(void *self, const dowel_batch *in, double *sum,
                           dowel_err *err);
    /* [work] Adds this batch's share of the step's loss to *loss, and its
     * derivatives to the columns' grad. Leaves *self as it is, so that cutting a
     * step into more batches, or dealing it to several machines, changes
     * nothing. */
    dowel_status (*loss)(void *self, const dowel_batch *in, double *loss,
                         dowel_err *err);
    /* [main] After the optimiser moved (not for a step that was skipped): the
     * place where state changes. `tally` is summed over the whole step. Optional. */
    dowel_status (*step_end)(void *self, uint64_t step, const double *tally,
                             dowel_err *err);
} dowel_objective;

/* Rewards to advantages; usually in the same plugin as the loss that uses it,
 * and then in the same instance. */
typedef struct dowel_credit {
    uint32_t size;
    uint32_t ret_width;       /* heads of OLD_VALUE */
    double  *advantage;       /* out: n_tok, 0 before */
    double  *ret;             /* out: n_tok * ret_width; NULL without a critic */
    double  *weight;          /* out: n_seq, 1 before: the loss's WEIGHT */
    double  *label;           /* out: n_seq, 0 before: the loss's LABEL */
    int32_t *mate;            /* out: n_seq, -1 before: makes pairs; once there is
                                 one, sequences without a mate are not trained */
    uint8_t *keep;            /* out: n_seq, 1 before; 0: not trained */
} dowel_credit;

typedef struct dowel_estimator {
    uint32_t size, reserved;
    /* [main] As for an objective, of columns, extras and fields. Optional. */
    dowel_status (*observe)(void *self, dowel_request *ask, dowel_err *err);
    /* [work] Once per rollout, with the whole of it, before it is cut into
     * batches; state may change here. */
    dowel_status (*estimate)(void *self, const dowel_batch *rollout,
                             dowel_credit *out, dowel_err *err);
} dowel_estimator;

/* ---- kind 2: reward source ---------------------------------------------- */

typedef struct dowel_sample {
    uint32_t   size;
    uint32_t   group;         /* samples of one group arrive in the same call */
    uint64_t   id;            /* the same after a resume */
    dowel_text prompt;        /* as the model saw it */
    dowel_text completion;
    dowel_text meta;          /* the data row's own fields, a JSON object */
    uint32_t   n_tok, stop;   /* DOWEL_STOP_* */
    const uint32_t *tok_end;  /* n_tok: byte in completion where token i ends */
} dowel_sample;

enum {                        /* how a span's value reaches its tokens */
    DOWEL_CREDIT_LAST = 1,    /* all of it on the last one: a finished step */
    DOWEL_CREDIT_EACH = 2,    /* all of it on every one */
    DOWEL_CREDIT_SPREAD = 3,  /* divided among them */
};

typedef struct dowel_scores dowel_scores;
struct dowel_scores {
    uint32_t size, n;
    const dowel_host *host;
    double  *total;           /* out: n, NaN before; NaN after: no opinion */
    /* A reward for bytes [begin, end) of sample i's completion, beside `total`. */
    dowel_status (*span)(dowel_scores *out, uint32_t i, uint64_t begin,
                         uint64_t end, double value, uint32_t credit);
    /* Why; kept in the sample log so that a person can audit the reward. */
    void (*why)(dowel_scores *out, uint32_t i, const char *line);
};

typedef struct dowel_reward {
    uint32_t size, reserved;
    double   lowest, highest; /* every score lies between; both 0: not declared */
    /* [work] */
    dowel_status (*score)(void *self, const dowel_sample *const *in, uint32_t n,
                          dowel_scores *out, dowel_err *err);
} dowel_reward;

/* ---- kind 3: judge ------------------------------------------------------ */

typedef struct dowel_pair {
    uint32_t   size, reserved;
    uint64_t   id;
    dowel_text prompt, first, second, meta;
} dowel_pair;

typedef struct dowel_verdicts dowel_verdicts;
struct dowel_verdicts {
    uint32_t size, n;
    const dowel_host *host;
    double  *p;               /* out: n, NaN before: how likely `first` is the
                                 better one; 0.5 tie, NaN no opinion */
    void (*why)(dowel_verdicts *out, uint32_t i, const char *line);
};

typedef struct dowel_judge {
    uint32_t size;
    uint32_t symmetric;       /* 0: the host asks both orders and averages */
    /* [work] */
    dowel_status (*compare)(void *self, const dowel_pair *const *in, uint32_t n,
                            dowel_verdicts *out, dowel_err *err);
} dowel_judge;

/* ---- the plugin and its module ------------------------------------------ */

enum {                            /* dowel_plugin.flags */
    DOWEL_PURE = 1u << 0,         /* same input and options, same output: the
                                     host may cache; save/load not needed */
    DOWEL_REENTRANT = 1u << 1,    /* [work] calls may overlap on one instance */
};

typedef struct dowel_plugin {
    uint32_t    size, flags;
    const char *id;               /* "grpo"; outside dowel "org.example.name" */
    const char *version;          /* "1.0.0" */
    const char *about;            /* one sentence, for `dowel plugins` */
    const dowel_param *params;
    uint32_t    n_params, param_size;
    uint32_t    config_size;      /* sizeof(struct of options) */
    uint32_t    state_version;    /* handed back to load() */
    /* [main] host and config stay valid until destroy. Without create, self is
     * config. */
    dowel_status (*create)(const dowel_host *host, const void *config,
                           void **self, dowel_err *err);
    void (*destroy)(void *self);
    /* [main] Both or neither. Without them a plugin must be DOWEL_PURE, or runs
     * that use it cannot be resumed exactly. */
    dowel_status (*save)(void *self, dowel_sink *to, dowel_err *err);
    dowel_status (*load)(void *self, dowel_source *from, uint32_t state_version,
                         dowel_err *err);
    const void *(*extension)(const char *id); /* [any] may be NULL */
    const dowel_objective *objective;         /* at least one of the four */
    const dowel_estimator *estimator;
    const dowel_reward    *reward;
    const dowel_judge     *judge;
} dowel_plugin;

typedef struct dowel_module {
    uint32_t magic;
    uint16_t abi_major, abi_minor;
    uint32_t size, n_plugins;
    const dowel_plugin *const *plugins;
} dowel_module;

/* For use inside the braces of a dowel_plugin, in this order (C++: from C++20). */
#define DOWEL_PLUGIN(id_, version_, about_, flags_)                            \
    .size = (uint32_t)sizeof(dowel_plugin), .flags = (flags_), .id = id_,      \
    .version = version_, .about = about_
#define DOWEL_OPTIONS(S, list)                                                 \
    .params = (list), .n_params = (uint32_t)(sizeof(list) / sizeof *(list)),   \
    .param_size = (uint32_t)sizeof *(list), .config_size = (uint32_t)sizeof(S)

/* DOWEL_MODULE(&first, &second); once per shared object. */
#define DOWEL_MODULE(...)                                                      \
    static const dowel_plugin *const dowel_list_[] = {__VA_ARGS__};            \
    DOWEL_EXPORT extern const dowel_module dowel_module_v1;                    \
    const dowel_module dowel_module_v1 = {                                     \
        DOWEL_MAGIC, DOWEL_ABI_MAJOR, DOWEL_ABI_MINOR,                         \
        (uint32_t)sizeof(dowel_module),                                        \
        (uint32_t)(sizeof dowel_list_ / sizeof *dowel_list_), dowel_list_}

/* ---- small helpers, compiled into the plugin ---------------------------- */

static inline const double *dowel_x(const dowel_batch *b, uint32_t column)
{
    return column < b->n_col ? b->col[column].x : NULL;
}
static inline double *dowel_grad(const dowel_batch *b, uint32_t column)
{
    return column < b->n_col ? b->col[column].grad : NULL;
}
/* LOGP for factors that the loss takes as constants: HELD_LOGP where it was asked for. */
static inline const double *dowel_held(const dowel_batch *b)
{
    const double *held = dowel_x(b, DOWEL_HELD_LOGP);
    return held ? held : dowel_x(b, DOWEL_LOGP);
}
/* Sum over the counted tokens of sequence s of a[t] - b[t]; b may be NULL. */
static inline double dowel_seq_sum(const dowel_batch *in, uint32_t s,
                                   const double *a, const double *b)
{
    double sum = 0;
    for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++)
        if (in->mask[t])
            sum += b ? a[t] - b[t] : a[t];
    return sum;
}
/* How many tokens of sequence s count. */
static inline uint32_t dowel_seq_len(const dowel_batch *in, uint32_t s)
{
    uint32_t n = 0;
    for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++)
        n += in->mask[t] != 0;
    return n;
}
/* Adds d to the gradient of every counted token of sequence s. */
static inline void dowel_seq_add(const dowel_batch *in, uint32_t s, double *grad,
                                 double d)
{
    for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++)
        if (in->mask[t])
            grad[t] += d;
}

#ifdef __cplusplus
}
#endif
#endif /* DOWEL_PLUGIN_H */
