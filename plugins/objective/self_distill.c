/* self_distill: the model as its own teacher, which reads what the student does not (SDFT, SDPO).
 */
#include <dowel/plugin.h>
#include <math.h>

#include "../policy_terms.h"

enum { SAMPLED_TOKEN, DISTRIBUTION };
static const char *const normalizers[] = {"token", "sequence", "constant", NULL}; /* as NORM_ */
static const char *const modes[] = {"sampled_token", "distribution", NULL};

struct opts {
    int64_t mode, normalizer, top_k, skip;
    double alpha, correction, temperature;
    bool tail;
};

static const dowel_param params[] = {
    DOWEL_OPT_CHOICE(struct opts, mode, "distribution", modes, 0,
                     "Compare whole distributions, or only the sampled token."),
    DOWEL_OPT_REAL(struct opts, alpha, "0.5", 0, 1, 0,
                   "distribution: 0: KL(teacher|student), 1: KL(student|teacher), or between."),
    DOWEL_OPT_INT(struct opts, top_k, "100", 0, 65536, 0,
                  "distribution: the student's likeliest tokens; 0: the whole vocabulary."),
    DOWEL_OPT_BOOL(struct opts, tail, "false", 0,
                   "With top_k: all other tokens as one more; else what is left is renormalised."),
    DOWEL_OPT_REAL(struct opts, temperature, "0", 0, 100, 0,
                   "distribution: of both sides; 0: the one the answers were sampled at."),
    DOWEL_OPT_REAL(
        struct opts, correction, "2", 0, 1e6, 0,
        "Largest weight of a token that the policy finds likelier by now; 0: no weights."),
    DOWEL_OPT_INT(struct opts, skip, "0", 0, 1000000, 0,
                  "How many of an answer's first tokens are not trained."),
    DOWEL_OPT_CHOICE(
        struct opts, normalizer, "sequence", normalizers, 0,
        "Mean over the step's tokens, over tokens and then answers, or a fixed length."),
};

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = self;
    ask->some_taught = 1;
    ask->columns = o->correction > 0 ? DOWEL_BIT(DOWEL_OLD_LOGP) | DOWEL_BIT(DOWEL_LOGP) : 0;
    if (o->mode == SAMPLED_TOKEN) {
        ask->columns |=
            DOWEL_BIT(DOWEL_LOGP) | DOWEL_BIT(DOWEL_HELD_LOGP) | DOWEL_BIT(DOWEL_TEACHER_LOGP);
        return DOWEL_OK;
    }
    if (o->top_k == 1 && !o->tail)
        return dowel_fail(err, DOWEL_E_ARG,
                          "top_k = 1 without tail compares 1 with 1 and is always 0; set tail");
    ask->detached = ask->columns & DOWEL_BIT(DOWEL_LOGP); /* a weight only */
    ask->columns |= DOWEL_BIT(DOWEL_DIVERGENCE);
    ask->divergence = o->alpha <= 0   ? DOWEL_FORWARD_KL
                      : o->alpha >= 1 ? DOWEL_REVERSE_KL
                                      : DOWEL_JENSEN_SHANNON;
    ask->beta = o->alpha;
    ask->against = DOWEL_TEACHER;
    ask->temperature = o->temperature;
    ask->top_k = (uint32_t)o->top_k;
    ask->tail = o->tail;
    return DOWEL_OK;
}

/* Where the trained tokens of s begin, and how many there are from there on. */
static uint32_t begin(const struct opts *o, const dowel_batch *in, uint32_t s, double *n)
{
    uint32_t t = in->start[s], end = in->start[s + 1];
    int64_t left = o->skip;
    if (in->role[s] != DOWEL_TRAINED && in->role[s] != DOWEL_OTHER)
        t = end;
    for (; t < end && left > 0; t++)
        left -= in->mask[t] != 0;
    *n = 0;
    for (uint32_t k = t; k < end; k++)
        *n += in->mask[k] != 0;
    return t;
}

/* How many tokens are trained. */
static dowel_status survey(void *self, const dowel_batch *in, double *sum, dowel_err *err)
{
    (void)err;
    for (uint32_t s = 0; s < in->n_seq; s++) {
        double n;
        begin(self, in, s, &n);
        *sum += n;
    }
    return DOWEL_OK;
}

struct sums {
    double tokens, loss, log_ratio, weight, capped;
};

/* A constant: it says how much likelier the token is now than when it was sampled. */
static double correction(const struct opts *o, const dowel_batch *in, uint32_t t)
{
    if (!(o->correction > 0))
        return 1;
    double d = dowel_held(in)[t] - dowel_x(in, DOWEL_OLD_LOGP)[t];
    return fmin(exp(fmin(fmax(d, -20), 20)), o->correction);
}

static double sequence(const struct opts *o, const dowel_batch *in, uint32_t s, struct sums *m)
{
    const double *l = dowel_x(in, DOWEL_LOGP), *tea = dowel_x(in, DOWEL_TEACHER_LOGP);
    const double *d = dowel_x(in, DOWEL_DIVERGENCE), *held = dowel_held(in);
    int sampled = o->mode == SAMPLED_TOKEN;
    double *grad = dowel_grad(in, sampled ? DOWEL_LOGP : DOWEL_DIVERGENCE), n, total = 0;
    uint32_t from = begin(o, in, s, &n);
    double scale = dowel_x(in, DOWEL_WEIGHT)[s];
    if (n > 0) /* the skipped are not in the step's tokens */
        scale *=
            o->normalizer == NORM_TOKEN ? 1 / in->total[0] : normalizer_of(o->normalizer, in, n);
    for (uint32_t t = from; t < in->start[s + 1]; t++) {
        if (!in->mask[t] || isnan(sampled ? tea[t] : d[t])) /* no teacher: stays in the divisor */
            continue;
        double c = correction(o, in, t);
        double slope = sampled ? c * (held[t] - tea[t]) : c; /* the log-ratio is a constant */
        double value = slope * (sampled ? l[t] : d[t]);
        total += scale * value;
        grad[t] += scale * slope;
        m->tokens += 1;
        m->loss += value;
        m->log_ratio += sampled ? l[t] - tea[t] : 0;
        m->weight += c;
        m->capped += o->correction > 0 && c >= o->correction;
    }
    return total;
}

static void report(const struct opts *o, const dowel_host *host, const struct sums *m)
{
    double n = m->tokens;
    if (n == 0)
        return;
    if (o->mode == SAMPLED_TOKEN)
        host->metric(host, "self_distillation/log_ratio", DOWEL_MEAN, m->log_ratio / n, n);
    host->metric(host, "self_distillation/distillation_loss", DOWEL_MEAN, m->loss / n, n);
    if (o->correction > 0) {
        host->metric(host, "self_distillation/mean_weight", DOWEL_MEAN, m->weight / n, n);
        host->metric(host, "self_distillation/capped", DOWEL_MEAN, m->capped / n, n);
    }
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const struct opts *o = self;
    struct sums m = {0};
    if (in->n_tok > 0 &&
        !dowel_x(in, o->mode == SAMPLED_TOKEN ? DOWEL_TEACHER_LOGP : DOWEL_DIVERGENCE))
        return dowel_fail(err, DOWEL_E_ARG, "the batch has no teacher; name one");
    if (in->n_tok > 0 && o->correction > 0 && !dowel_x(in, DOWEL_OLD_LOGP))
        return dowel_fail(err, DOWEL_E_ARG,
                          "the answers were not sampled by the policy; give it rollouts");
    for (uint32_t s = 0; s < in->n_seq; s++)
        *loss += sequence(o, in, s, &m);
    report(o, in->host, &m);
    return DOWEL_OK;
}

static const char *const shown[] = {"self_distillation/distillation_loss", NULL};
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_ROLLOUTS | DOWEL_TEXTS,
                                          .n_total = 1,
                                          .shown = shown,
                                          .observe = observe,
                                          .survey = survey,
                                          .loss = loss};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("self_distill", "1.0.0", "Self-distillation from a better informed teacher.",
                 DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params), .objective = &objective};
DOWEL_MODULE(&plugin);
