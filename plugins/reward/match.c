/* match: does the answer that a pattern finds in the completion equal a field of the row? */
#include "../answer.h"

struct opts {
    ANSWER_EMBEDDED;
    double right, wrong;
};

static const dowel_param params[] = {
    ANSWER_PARAMS(struct opts),
    DOWEL_OPT_REAL(struct opts, right, "1", -1e6, 1e6, DOWEL_TUNABLE, "Score of a right answer."),
    DOWEL_OPT_REAL(struct opts, wrong, "0", -1e6, 1e6, DOWEL_TUNABLE, "Score of any other."),
};

struct match {
    const struct opts *opts;
    struct answer *answer;
};

static dowel_status create(const dowel_host *host, const void *config, void **self, dowel_err *err)
{
    const struct opts *o = config;
    struct match *m = calloc(1, sizeof *m);
    (void)host;
    if (!m)
        return dowel_fail(err, DOWEL_E_NOMEM, "out of memory");
    m->opts = o;
    dowel_status st = answer_create(&o->answer, &m->answer, err);
    if (st < 0) {
        free(m);
        return st;
    }
    *self = m;
    return DOWEL_OK;
}

static void destroy(void *self)
{
    struct match *m = self;
    answer_destroy(m->answer);
    free(m);
}

static dowel_status score(void *self, const dowel_sample *const *in, uint32_t n, dowel_scores *out,
                          dowel_err *err)
{
    const struct match *m = self;
    for (uint32_t i = 0; i < n; i++) {
        char line[256];
        bool right;
        dowel_status st = answer_right(m->answer, out->host, in[i], &right, line, err);
        if (st < 0) {
            err->sample = (int32_t)i;
            return st;
        }
        out->total[i] = right ? m->opts->right : m->opts->wrong;
        out->why(out, i, line);
    }
    return DOWEL_OK;
}

static const dowel_reward reward = {.size = sizeof reward, .score = score};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("match", "1.0.0", "Rewards an answer that equals a field of the row.",
                 DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params),
    .create = create,
    .destroy = destroy,
    .reward = &reward,
};
DOWEL_MODULE(&plugin);
