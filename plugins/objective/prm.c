/* prm: a process reward model, which says of each step of an answer how likely it is right. */
#include <dowel/plugin.h>
#include <stdlib.h>
#include <string.h>

#include "../primitives.h"

enum { TWO_CHANNEL, ONE_CHANNEL, TOKENS };
static const char *const heads[] = {"two_channel", "one_channel", "tokens", NULL};

struct opts {
    int64_t head;
    const char *good, *bad;
    bool train_on_last_step_only;
};

static const dowel_param params[] = {
    DOWEL_OPT_CHOICE(struct opts, head, "two_channel", heads, 0,
                     "What is read at the end of a step: two scores, one, or two tokens."),
    DOWEL_OPT_STR(struct opts, good, "+", 0, "tokens: the text of the token for a right step."),
    DOWEL_OPT_STR(struct opts, bad, "-", 0, "tokens: the text of the token for a wrong step."),
    DOWEL_OPT_BOOL(struct opts, train_on_last_step_only, "false", 0,
                   "Leave out all labels but the last: an outcome reward model."),
};

struct self {
    const struct opts *o;
    const char *choices[3];
};

static dowel_status create(const dowel_host *host, const void *config, void **self, dowel_err *err)
{
    struct self *me = calloc(1, sizeof *me);
    (void)host;
    if (!me)
        return dowel_fail(err, DOWEL_E_NOMEM, "out of memory");
    me->o = config;
    me->choices[0] = me->o->bad; /* channel 0 is label 0 in every form */
    me->choices[1] = me->o->good;
    *self = me;
    return DOWEL_OK;
}

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    const struct self *me = self;
    const struct opts *o = me->o;
    ask->columns = DOWEL_BIT(DOWEL_MARK_LABEL);
    if (o->head != TOKENS) {
        ask->columns |= DOWEL_BIT(DOWEL_SCORE);
        ask->score_width = o->head == TWO_CHANNEL ? 2 : 1;
        return DOWEL_OK;
    }
    if (!*o->good || !*o->bad || !strcmp(o->good, o->bad))
        return dowel_fail(err, DOWEL_E_ARG, "good is '%s' and bad is '%s'; name two tokens",
                          o->good, o->bad);
    ask->columns |= DOWEL_BIT(DOWEL_CHOICES);
    ask->choices = me->choices;
    return DOWEL_OK;
}

/* The marks of sequence s that are trained on: from *k to its last. */
static uint32_t marks(const struct opts *o, const dowel_batch *in, uint32_t s, uint32_t *k)
{
    uint32_t end = in->mark_start[s + 1];
    *k = in->mark_start[s];
    if (in->role[s] != DOWEL_TRAINED || dowel_seq_len(in, s) == 0)
        *k = end;
    else if (o->train_on_last_step_only && end > *k)
        *k = end - 1;
    return end;
}

static dowel_status check(const dowel_batch *in, dowel_err *err)
{
    if (in->n_seq > 0 && !dowel_x(in, DOWEL_MARK_LABEL))
        return dowel_fail(err, DOWEL_E_ARG, "the batch has no labels of steps; give it steps");
    return DOWEL_OK;
}

/* How many labelled steps there are. */
static dowel_status survey(void *self, const dowel_batch *in, double *sum, dowel_err *err)
{
    const struct opts *o = ((const struct self *)self)->o;
    const double *label = dowel_x(in, DOWEL_MARK_LABEL);
    dowel_status st = check(in, err);
    for (uint32_t s = 0; st == DOWEL_OK && s < in->n_seq; s++)
        for (uint32_t k, end = marks(o, in, s, &k); k < end; k++)
            *sum += !isnan(label[k]);
    return st;
}

/* The log-odds of "right" at mark k. */
static double odds(const dowel_column *c, int one, uint32_t k)
{
    const double *x = c->x + (size_t)k * c->width;
    return one ? x[0] : x[1] - x[0];
}

static void push(const dowel_column *c, int one, uint32_t k, double d)
{
    double *grad = c->grad + (size_t)k * c->width;
    grad[0] += one ? d : -d;
    if (!one)
        grad[1] += d;
}

/* Softmax over two channels is the logistic function of their difference, so one formula serves all
 * three forms; the label stays a probability. */
static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const struct opts *o = ((const struct self *)self)->o;
    const double *label = dowel_x(in, DOWEL_MARK_LABEL), *weight = dowel_x(in, DOWEL_WEIGHT);
    const dowel_column *c = &in->col[o->head == TOKENS ? DOWEL_CHOICES : DOWEL_SCORE];
    double right = 0, decided = 0;
    dowel_status st = check(in, err);
    if (st == DOWEL_OK && in->n_seq > 0 && !c->x)
        return dowel_fail(err, DOWEL_E_ARG, "the batch has no scores; the model needs a head");
    for (uint32_t s = 0; st == DOWEL_OK && s < in->n_seq; s++) {
        for (uint32_t k, end = marks(o, in, s, &k); k < end; k++) {
            if (isnan(label[k]))
                continue;
            double z = odds(c, o->head == ONE_CHANNEL, k), q = label[k];
            double scale = weight[s] / in->total[0];
            *loss += scale * (q * softplus(-z) + (1 - q) * softplus(z));
            push(c, o->head == ONE_CHANNEL, k, scale * (sigmoid(z) - q));
            right += z * (q - 0.5) > 0;
            decided += q != 0.5;
        }
    }
    if (decided > 0)
        in->host->metric(in->host, "accuracy", DOWEL_MEAN, right / decided, decided);
    return st;
}

static const char *const shown[] = {"accuracy", NULL};
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_STEPS,
                                          .n_total = 1,
                                          .shown = shown,
                                          .observe = observe,
                                          .survey = survey,
                                          .loss = loss};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("prm", "1.0.0", "Process reward model: is this step right?",
                 DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params), .create = create, .destroy = free, .objective = &objective};
DOWEL_MODULE(&plugin);
