/* gkd: distillation by the whole distribution, as a divergence between teacher and student. */
#include <dowel/plugin.h>

#include "../tokens.h"

enum { PROBABILITIES, SORTED };
static const char *const compares[] = {"probabilities", "sorted", NULL};
static const char *const models[] = {"teacher", "reference", NULL}; /* as DOWEL_TEACHER, ... */

struct opts {
    double beta, temperature;
    int64_t top_k, against, compare;
    bool tail, continuous;
};

static const dowel_param params[] = {
    DOWEL_OPT_CHOICE(struct opts, compare, "probabilities", compares, 0,
                     "Token by token, or both sorted from the likeliest on (ULD)."),
    DOWEL_OPT_REAL(struct opts, beta, "0.5", 0, 1, 0,
                   "0: KL(teacher|student), 1: KL(student|teacher), between: Jensen-Shannon."),
    DOWEL_OPT_BOOL(struct opts, continuous, "false", 0,
                   "Divide Jensen-Shannon by beta (1 - beta), so that it meets both ends."),
    DOWEL_OPT_REAL(struct opts, temperature, "0", 0, 100, 0,
                   "Temperature of both distributions; 0: the one the answers were sampled at."),
    DOWEL_OPT_INT(struct opts, top_k, "0", 0, 65536, 0,
                  "Compare only the student's likeliest tokens; 0: the whole vocabulary."),
    DOWEL_OPT_BOOL(struct opts, tail, "true", 0,
                   "With top_k: all other tokens as one more; else what is left is renormalised."),
    DOWEL_OPT_CHOICE(struct opts, against, "teacher", models, 0,
                     "The other model: the task's teacher, or the frozen reference."),
};

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = self;
    if (o->compare == SORTED && o->top_k > 0)
        return dowel_fail(err, DOWEL_E_ARG,
                          "sorted distributions are compared whole; leave out top_k");
    if (o->top_k == 1 && !o->tail)
        return dowel_fail(err, DOWEL_E_ARG,
                          "top_k = 1 without tail compares 1 with 1 and is always 0; set tail");
    ask->columns = DOWEL_BIT(DOWEL_DIVERGENCE) | DOWEL_BIT(DOWEL_ENTROPY);
    ask->detached = DOWEL_BIT(DOWEL_ENTROPY);
    ask->divergence = o->compare == SORTED ? DOWEL_SORTED_DISTANCE
                      : o->beta <= 0       ? DOWEL_FORWARD_KL
                      : o->beta >= 1       ? DOWEL_REVERSE_KL
                                           : DOWEL_JENSEN_SHANNON;
    ask->beta = o->beta;
    ask->temperature = o->temperature;
    ask->against = (uint32_t)o->against;
    ask->top_k = (uint32_t)o->top_k;
    ask->tail = o->tail;
    return DOWEL_OK;
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const struct opts *o = self;
    const double *d = dowel_x(in, DOWEL_DIVERGENCE), *weight = dowel_x(in, DOWEL_WEIGHT);
    double *grad = dowel_grad(in, DOWEL_DIVERGENCE);
    bool between = o->compare == PROBABILITIES && o->beta > 0 && o->beta < 1;
    double inside = o->continuous && between ? o->beta * (1 - o->beta) : 1;
    if (in->n_tok > 0 && !d)
        return dowel_fail(err, DOWEL_E_ARG, "the batch has no divergence; name a %s",
                          models[o->against]);
    for (uint32_t s = 0; s < in->n_seq; s++) {
        double scale = weight[s] / (in->step_toks * inside);
        *loss += scale * dowel_seq_sum(in, s, d, NULL);
        dowel_seq_add(in, s, grad, scale);
    }
    report_token_mean(in, DOWEL_DIVERGENCE, "divergence");
    report_token_mean(in, DOWEL_ENTROPY, "entropy");
    return DOWEL_OK;
}

static const char *const shown[] = {"divergence", "entropy", NULL};
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_TEXTS | DOWEL_ROLLOUTS,
                                          .shown = shown,
                                          .observe = observe,
                                          .loss = loss};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("gkd", "1.0.0", "Generalised knowledge distillation from a teacher model.",
                 DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params), .objective = &objective};
DOWEL_MODULE(&plugin);
