/* length_cosine: right answers are worth more the shorter, wrong ones less, along a cosine. */
#include "../answer.h"

struct opts {
    ANSWER_EMBEDDED;
    double right_short, right_long, wrong_short, wrong_long;
    int64_t limit;
};

static const dowel_param params[] = {
    DOWEL_OPT_INT(struct opts, limit, NULL, 1, 1e9, DOWEL_TUNABLE,
                  "Tokens at which the score arrives at its value for long answers."),
    DOWEL_OPT_REAL(struct opts, right_short, "1", -1e6, 1e6, DOWEL_TUNABLE,
                   "Score of a right answer without length."),
    DOWEL_OPT_REAL(struct opts, right_long, "0.5", -1e6, 1e6, DOWEL_TUNABLE,
                   "Score of a right answer at the limit."),
    DOWEL_OPT_REAL(struct opts, wrong_short, "-1", -1e6, 1e6, DOWEL_TUNABLE,
                   "Score of a wrong answer without length."),
    DOWEL_OPT_REAL(struct opts, wrong_long, "-0.5", -1e6, 1e6, DOWEL_TUNABLE,
                   "Score of a wrong answer at the limit."),
    ANSWER_PARAMS(struct opts),
};

struct cosine {
    const struct opts *opts;
    struct answer *answer;
};

static dowel_status create(const dowel_host *host, const void *config, void **self, dowel_err *err)
{
    const struct opts *o = config;
    struct cosine *c = calloc(1, sizeof *c);
    (void)host;
    if (!c)
        return dowel_fail(err, DOWEL_E_NOMEM, "out of memory");
    c->opts = o;
    dowel_status st = answer_create(&o->answer, &c->answer, err);
    if (st < 0) {
        free(c);
        return st;
    }
    *self = c;
    return DOWEL_OK;
}

static void destroy(void *self)
{
    struct cosine *c = self;
    answer_destroy(c->answer);
    free(c);
}

/* From `brief` at no length to `full` at the limit and beyond. */
static double along(const struct opts *o, double n, double brief, double full)
{
    const double pi = 3.14159265358979323846;
    return full + (brief - full) / 2 * (1 + cos(pi * fmin(n / (double)o->limit, 1)));
}

static dowel_status score(void *self, const dowel_sample *const *in, uint32_t n, dowel_scores *out,
                          dowel_err *err)
{
    const struct cosine *c = self;
    const struct opts *o = c->opts;
    for (uint32_t i = 0; i < n; i++) {
        char line[256];
        bool right;
        dowel_status st = answer_right(c->answer, out->host, in[i], &right, line, err);
        if (st < 0) {
            err->sample = (int32_t)i;
            return st;
        }
        out->total[i] = right ? along(o, in[i]->n_tok, o->right_short, o->right_long)
                              : along(o, in[i]->n_tok, o->wrong_short, o->wrong_long);
        out->why(out, i, line);
    }
    return DOWEL_OK;
}

static const dowel_reward reward = {.size = sizeof reward, .score = score};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("length_cosine", "1.0.0", "Scales a right or wrong answer's score by its length.",
                 DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params),
    .create = create,
    .destroy = destroy,
    .reward = &reward,
};
DOWEL_MODULE(&plugin);
