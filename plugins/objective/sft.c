/* sft: maximum likelihood of the completion, as a mean over the step's tokens. */
#include <dowel/plugin.h>
#include <math.h>

enum { TOKENS = 0, WEIGHTS = 1 };
static const char *const divisors[] = {"tokens", "weights", NULL};

struct opts {
    double label_smoothing;
    int64_t divisor;
    bool dft;
};

static const dowel_param params[] = {
    DOWEL_OPT_REAL(struct opts, label_smoothing, "0", 0, 0.9, DOWEL_TUNABLE,
                   "Share of the target spread evenly over the whole vocabulary."),
    DOWEL_OPT_BOOL(struct opts, dft, "false", 0,
                   "Scale each token's gradient by its probability (dynamic fine-tuning)."),
    DOWEL_OPT_CHOICE(struct opts, divisor, "tokens", divisors, 0,
                     "Divide by the step's tokens, or by the weights of their rows summed."),
};

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = self;
    if (o->dft && o->label_smoothing > 0)
        return dowel_fail(err, DOWEL_E_ARG, "dft and label_smoothing exclude each other");
    ask->columns = DOWEL_BIT(DOWEL_LOGP) | DOWEL_BIT(DOWEL_ENTROPY) | DOWEL_BIT(DOWEL_TOP1);
    ask->detached = DOWEL_BIT(DOWEL_ENTROPY);
    if (o->dft)
        ask->columns |= DOWEL_BIT(DOWEL_HELD_LOGP);
    if (o->label_smoothing > 0)
        ask->columns |= DOWEL_BIT(DOWEL_MEAN_LOGP);
    return DOWEL_OK;
}

/* The step's tokens, each counted as its row weighs. */
static dowel_status survey(void *self, const dowel_batch *in, double *sum, dowel_err *err)
{
    (void)self;
    (void)err;
    for (uint32_t s = 0; s < in->n_seq; s++)
        if (in->role[s] == DOWEL_TRAINED || in->role[s] == DOWEL_OTHER)
            *sum += dowel_x(in, DOWEL_WEIGHT)[s] * dowel_seq_len(in, s);
    return DOWEL_OK;
}

static void report(const dowel_batch *in)
{
    const double *entropy = dowel_x(in, DOWEL_ENTROPY), *top1 = dowel_x(in, DOWEL_TOP1);
    double h = 0, hit = 0, n = 0;
    for (uint32_t s = 0; s < in->n_seq; s++) {
        h += entropy ? dowel_seq_sum(in, s, entropy, NULL) : 0;
        hit += top1 ? dowel_seq_sum(in, s, top1, NULL) : 0;
        n += dowel_seq_len(in, s);
    }
    if (n > 0 && entropy)
        in->host->metric(in->host, "entropy", DOWEL_MEAN, h / n, n);
    if (n > 0 && top1)
        in->host->metric(in->host, "mean_token_accuracy", DOWEL_MEAN, hit / n, n);
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const struct opts *o = self;
    const double *logp = dowel_x(in, DOWEL_LOGP), *mean = dowel_x(in, DOWEL_MEAN_LOGP);
    const double *held = dowel_held(in), *weight = dowel_x(in, DOWEL_WEIGHT),
                 smooth = o->label_smoothing;
    double *grad = dowel_grad(in, DOWEL_LOGP), *grad_mean = dowel_grad(in, DOWEL_MEAN_LOGP);
    double divisor = o->divisor == WEIGHTS ? in->total[0] : in->step_toks;
    (void)err;

    for (uint32_t s = 0; s < in->n_seq; s++) {
        double scale = divisor > 0 ? weight[s] / divisor : 0;
        for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++) {
            if (!in->mask[t])
                continue;
            double c = o->dft ? exp(held[t]) : 1 - smooth; /* a constant to the derivative */
            *loss -= scale * c * logp[t];
            grad[t] -= scale * c;
            if (smooth > 0) {
                *loss -= scale * smooth * mean[t];
                grad_mean[t] -= scale * smooth;
            }
        }
    }
    report(in);
    return DOWEL_OK;
}

static const char *const shown[] = {"mean_token_accuracy", NULL};
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_TEXTS | DOWEL_ROLLOUTS,
                                          .n_total = 1,
                                          .shown = shown,
                                          .observe = observe,
                                          .survey = survey,
                                          .loss = loss};
static const dowel_plugin plugin = {DOWEL_PLUGIN("sft", "1.0.0",
                                                 "Supervised fine-tuning on given answers.",
                                                 DOWEL_PURE | DOWEL_REENTRANT),
                                    DOWEL_OPTIONS(struct opts, params), .objective = &objective};
DOWEL_MODULE(&plugin);
