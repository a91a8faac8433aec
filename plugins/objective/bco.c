/* bco: binary classification of single answers by their implicit reward, shifted by the running
 * mean of all rewards seen. */
#include <dowel/plugin.h>
#include <stdlib.h>

#include "../labels.h"
#include "../primitives.h"

struct opts {
    double beta;
};

static const dowel_param params[] = {
    DOWEL_OPT_REAL(struct opts, beta, "0.1", 1e-6, 100, DOWEL_TUNABLE,
                   "How strongly the policy is tied to the reference."),
};

/* What has been seen up to the last step. */
struct seen {
    const struct opts *opts;
    double n, sum;
};
enum { SEEN_N, SEEN_SUM, TALLY };

static dowel_status create(const dowel_host *host, const void *config, void **self, dowel_err *err)
{
    struct seen *seen = calloc(1, sizeof *seen);
    (void)host;
    if (!seen)
        return dowel_fail(err, DOWEL_E_NOMEM, "no memory");
    seen->opts = config;
    *self = seen;
    return DOWEL_OK;
}

static void destroy(void *self)
{
    free(self);
}

static dowel_status save(void *self, dowel_sink *to, dowel_err *err)
{
    const struct seen *seen = self;
    const double state[] = {seen->n, seen->sum};
    (void)err;
    return to->write(to, state, sizeof state);
}

static dowel_status load(void *self, dowel_source *from, uint32_t version, dowel_err *err)
{
    struct seen *seen = self;
    double state[2];
    if (version != 1)
        return dowel_fail(err, DOWEL_E_STATE, "state of version %u, expected 1", version);
    dowel_status st = from->read(from, state, sizeof state);
    if (st != DOWEL_OK)
        return st;
    if (!(state[0] >= 0) || !isfinite(state[0]) || !isfinite(state[1]))
        return dowel_fail(err, DOWEL_E_STATE, "the saved mean is of %g answers with sum %g",
                          state[0], state[1]);
    seen->n = state[0];
    seen->sum = state[1];
    return DOWEL_OK;
}

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    (void)self;
    (void)err;
    ask->columns = DOWEL_BIT(DOWEL_LOGP) | DOWEL_BIT(DOWEL_HELD_LOGP) | DOWEL_BIT(DOWEL_REF_LOGP) |
                   LABEL_SHOWN;
    ask->detached = LABEL_SHOWN;
    ask->together = DOWEL_BY_STEP; /* the mean takes in this step's answers before it is used */
    return DOWEL_OK;
}

static dowel_status survey(void *self, const dowel_batch *in, double *sum, dowel_err *err)
{
    dowel_status st = labels_check(in, err);
    (void)self;
    if (st == DOWEL_OK)
        labels_count(in, sum);
    return st;
}

static double reward(const struct opts *o, const dowel_batch *in, uint32_t s, const double *logp)
{
    return o->beta * dowel_seq_sum(in, s, logp, dowel_x(in, DOWEL_REF_LOGP));
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const struct seen *seen = self;
    const struct opts *o = seen->opts;
    struct label_sums m = {.entropy = 0};
    double n = 0, sum = 0;
    dowel_status st = labels_check(in, err);
    if (st != DOWEL_OK)
        return st;
    for (uint32_t s = 0; s < in->n_seq; s++) {
        if (!labelled(in, s))
            continue;
        n += 1;
        sum += reward(o, in, s, dowel_held(in));
    }
    if (n == 0)
        return DOWEL_OK;
    double delta = (seen->sum + sum) / (seen->n + n); /* a constant to the derivative */
    for (uint32_t s = 0; s < in->n_seq; s++) {
        if (!labelled(in, s))
            continue;
        double side = dowel_x(in, DOWEL_LABEL)[s] > 0 ? 1 : -1;
        double r = reward(o, in, s, dowel_x(in, DOWEL_LOGP));
        double scale = dowel_x(in, DOWEL_WEIGHT)[s] / labels_total(in), x = side * (r - delta);
        *loss += scale * softplus(-x);
        dowel_seq_add(in, s, dowel_grad(in, DOWEL_LOGP), -scale * side * o->beta * sigmoid(-x));
        labels_add(in, s, r, &m);
    }
    in->tally[SEEN_N] += n;
    in->tally[SEEN_SUM] += sum;
    labels_report(in, &m);
    in->host->metric(in->host, "delta", DOWEL_MEAN, delta, n);
    return DOWEL_OK;
}

static dowel_status step_end(void *self, uint64_t step, const double *tally, dowel_err *err)
{
    struct seen *seen = self;
    (void)step;
    (void)err;
    seen->n += tally[SEEN_N];
    seen->sum += tally[SEEN_SUM];
    return DOWEL_OK;
}

static const char *const shown[] = {"rewards/margins", "delta", NULL};
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_LABELS,
                                          .n_total = LABEL_TOTALS,
                                          .n_tally = TALLY,
                                          .shown = shown,
                                          .observe = observe,
                                          .survey = survey,
                                          .loss = loss,
                                          .step_end = step_end};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("bco", "1.0.0", "Binary classifier optimisation on labelled answers.",
                 DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params),
    .state_version = 1,
    .create = create,
    .destroy = destroy,
    .save = save,
    .load = load,
    .objective = &objective};
DOWEL_MODULE(&plugin);
