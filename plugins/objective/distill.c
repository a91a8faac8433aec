/* opd, iw_opd, minillm: on-policy distillation through the teacher's log-probabilities of the
 * sampled tokens, as a policy gradient. */
#include <dowel/plugin.h>

#include "../policy_terms.h"
#include "../tokens.h"

enum { POLICY_GRADIENT, CLIPPED, TOP1 };
static const char *const normalizers[] = {"token", "sequence", "constant", NULL}; /* as NORM_ */
static const char *const losses[] = {"policy_gradient", "clipped", "top1", NULL};

/* One struct for the three plugins; what a plugin's table leaves out stays 0. */
struct opts {
    int64_t loss, normalizer;
    double clip, clip_high, gamma;
    bool length_normalization, single_step;
};

#define NORMALIZER(def)                                                                            \
    DOWEL_OPT_CHOICE(struct opts, normalizer, def, normalizers, 0,                                 \
                     "Mean over the step's tokens, over tokens and then answers, or a fixed "      \
                     "length.")
#define LOSS(def)                                                                                  \
    DOWEL_OPT_CHOICE(struct opts, loss, def, losses, 0,                                            \
                     "Plain policy gradient, with clipped ratios, or the divergence of "           \
                     "'this token or another'.")
#define CLIP                                                                                       \
    DOWEL_OPT_REAL(struct opts, clip, "0.2", 0, 1, DOWEL_TUNABLE,                                  \
                   "clipped: how far below 1 the ratio may push an unwanted token."),              \
        DOWEL_OPT_REAL(struct opts, clip_high, "0.2", 0, 1e6, DOWEL_TUNABLE,                       \
                       "clipped: how far above 1 the ratio may push a wanted token.")

static const dowel_param opd_params[] = {LOSS("policy_gradient"), CLIP, NORMALIZER("token")};
static const dowel_param iw_params[] = {
    DOWEL_OPT_REAL(struct opts, gamma, "0.5", 0, 100, DOWEL_TUNABLE,
                   "By how much the first tokens weigh more than the last."),
    NORMALIZER("token"),
};
static const dowel_param minillm_params[] = {
    LOSS("clipped"),
    CLIP,
    NORMALIZER("token"),
    DOWEL_OPT_REAL(struct opts, gamma, "1", 0, 1, DOWEL_TUNABLE,
                   "Discount of what later tokens cost."),
    DOWEL_OPT_BOOL(struct opts, length_normalization, "true", 0,
                   "Divide that sum by the sum of its discounts."),
    DOWEL_OPT_BOOL(struct opts, single_step, "true", 0,
                   "A token's own part exactly, over the whole vocabulary, not as sampled."),
};

/* ---- what is observed ---- */

static dowel_status opd_observe(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = self;
    (void)err;
    ask->columns = DOWEL_BIT(DOWEL_LOGP) | DOWEL_BIT(DOWEL_TEACHER_LOGP) | DOWEL_BIT(DOWEL_ENTROPY);
    ask->detached = DOWEL_BIT(DOWEL_ENTROPY);
    if (o->loss != TOP1)
        ask->columns |= DOWEL_BIT(DOWEL_OLD_LOGP);
    return DOWEL_OK;
}

static dowel_status minillm_observe(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = self;
    if (o->loss == TOP1)
        return dowel_fail(err, DOWEL_E_ARG, "loss = 'top1' looks at no later token; use opd");
    dowel_status st = opd_observe(self, ask, err);
    if (o->single_step) {
        ask->columns |= DOWEL_BIT(DOWEL_DIVERGENCE);
        ask->divergence = DOWEL_REVERSE_KL;
        ask->against = DOWEL_TEACHER;
    }
    return st;
}

static dowel_status check(const struct opts *o, const dowel_batch *in, dowel_err *err)
{
    if (in->n_tok > 0 && !dowel_x(in, DOWEL_TEACHER_LOGP))
        return dowel_fail(err, DOWEL_E_ARG, "the batch has no teacher; name one");
    if (in->n_tok > 0 && o->loss != TOP1 && !dowel_x(in, DOWEL_OLD_LOGP))
        return dowel_fail(err, DOWEL_E_ARG,
                          "the answers were not sampled by the policy; give it rollouts, or use "
                          "gkd for given answers");
    return DOWEL_OK;
}

/* ---- the loss of one token ---- */

/* The advantage is a constant. */
static struct term policy_term(const struct opts *o, double l, double old, double a)
{
    if (o->loss == POLICY_GRADIENT)
        return (struct term){-a * l, -a};
    const struct policy_rule rule = {.low = o->clip, .high = o->clip_high, .cap = INFINITY};
    return clip_term(&rule, ratio_of(l - old), a);
}

/* KL(student | teacher) of "this token or any other". The clamp keeps the derivative: a student
 * that is certain must be able to learn otherwise. */
static struct term top1_term(double l, double tea)
{
    l = fmin(l, -1e-7);
    tea = fmin(tea, -1e-7);
    double p = exp(l), rest = log1mexp(l), tea_rest = log1mexp(tea);
    return (struct term){p * (l - tea) + (1 - p) * (rest - tea_rest),
                         p * (l - rest - tea + tea_rest)};
}

struct sums {
    double tokens, log_ratio, clipped;
};

/* The policy loss of sequence s with these advantages (by token of the batch). */
static double sequence(const struct opts *o, const dowel_batch *in, uint32_t s, const double *a,
                       struct sums *m)
{
    const double *l = dowel_x(in, DOWEL_LOGP), *old = dowel_x(in, DOWEL_OLD_LOGP);
    const double *tea = dowel_x(in, DOWEL_TEACHER_LOGP);
    double *grad = dowel_grad(in, DOWEL_LOGP), total = 0, n = dowel_seq_len(in, s);
    double scale = dowel_x(in, DOWEL_WEIGHT)[s] * normalizer_of(o->normalizer, in, n);
    for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++) {
        if (!in->mask[t])
            continue;
        struct term p =
            o->loss == TOP1 ? top1_term(l[t], tea[t]) : policy_term(o, l[t], old[t], a[t]);
        total += scale * p.value;
        grad[t] += scale * p.slope;
        m->clipped += o->loss == CLIPPED && a[t] != 0 && p.slope == 0;
        m->log_ratio += l[t] - tea[t];
    }
    m->tokens += n;
    return total;
}

static void report(const struct opts *o, const dowel_batch *in, const struct sums *m)
{
    const dowel_host *host = in->host;
    if (m->tokens == 0)
        return;
    host->metric(host, "teacher_kl", DOWEL_MEAN, m->log_ratio / m->tokens, m->tokens);
    if (o->loss == CLIPPED)
        host->metric(host, "clip_ratio/region_mean", DOWEL_MEAN, m->clipped / m->tokens, m->tokens);
    report_token_mean(in, DOWEL_ENTROPY, "entropy");
}

static double *advantages(const dowel_batch *in)
{
    return in->host->scratch(in->host, ((size_t)in->n_tok + 1) * sizeof(double));
}

/* ---- opd: the token's own log-ratio ---- */

static void own(const dowel_batch *in, uint32_t s, double *a)
{
    const double *old = dowel_x(in, DOWEL_OLD_LOGP), *tea = dowel_x(in, DOWEL_TEACHER_LOGP);
    for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++)
        a[t] = in->mask[t] ? tea[t] - old[t] : 0;
}

static dowel_status opd_loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const struct opts *o = self;
    struct sums m = {0};
    double *a = advantages(in);
    dowel_status st = check(o, in, err);
    for (uint32_t s = 0; st == DOWEL_OK && s < in->n_seq; s++) {
        if (o->loss != TOP1)
            own(in, s, a);
        *loss += sequence(o, in, s, a, &m);
    }
    report(o, in, &m);
    return st;
}

/* ---- iw_opd: weighted by how much of the disagreement is still to come ---- */

struct weights {
    double advantage, size, sum, least, most, tokens;
};

static void weigh(const struct opts *o, const dowel_batch *in, uint32_t s, double *a,
                  struct weights *m)
{
    double all = 0, before = 0;
    own(in, s, a);
    for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++)
        all += fabs(a[t]);
    for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++) {
        if (!in->mask[t])
            continue;
        double w = 1 + o->gamma * (1 - before / fmax(all, 1e-8)), size = fabs(a[t]);
        before += size;
        a[t] *= w;
        m->advantage += a[t];
        m->size += size;
        m->sum += w;
        m->least = fmin(m->least, w);
        m->most = fmax(m->most, w);
        m->tokens += 1;
    }
}

static dowel_status iw_loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const struct opts *o = self;
    const dowel_host *host = in->host;
    struct sums m = {0};
    struct weights w = {.least = INFINITY, .most = -INFINITY};
    double *a = advantages(in);
    dowel_status st = check(o, in, err);
    for (uint32_t s = 0; st == DOWEL_OK && s < in->n_seq; s++) {
        weigh(o, in, s, a, &w);
        *loss += sequence(o, in, s, a, &m);
    }
    report(o, in, &m);
    if (w.tokens > 0) {
        host->metric(host, "iw_opd/mean_advantage", DOWEL_MEAN, w.advantage / w.tokens, w.tokens);
        host->metric(host, "iw_opd/mean_abs_advantage", DOWEL_MEAN, w.size / w.tokens, w.tokens);
        host->metric(host, "iw_opd/mean_weight", DOWEL_MEAN, w.sum / w.tokens, w.tokens);
        host->metric(host, "iw_opd/min_weight", DOWEL_MIN, w.least, 1);
        host->metric(host, "iw_opd/max_weight", DOWEL_MAX, w.most, 1);
    }
    return st;
}

/* ---- minillm: with what the later tokens cost ---- */

/* Backwards, so that a discount is gamma^(t'-t) and never underflows before it is divided by. With
 * single_step the token's own part is left to the exact divergence. */
static void to_go(const struct opts *o, const dowel_batch *in, uint32_t s, double *a)
{
    const double *old = dowel_x(in, DOWEL_OLD_LOGP), *tea = dowel_x(in, DOWEL_TEACHER_LOGP);
    double sum = 0, discounts = 0;
    for (uint32_t t = in->start[s + 1]; t-- > in->start[s];) {
        if (!in->mask[t])
            continue;
        double later = o->gamma * sum, of_later = o->gamma * discounts;
        sum = tea[t] - old[t] + later;
        discounts = 1 + of_later;
        a[t] = o->single_step ? later : sum;
        double divisor = o->single_step ? of_later : discounts;
        if (o->length_normalization && divisor > 0)
            a[t] /= divisor;
    }
}

static double exact_part(const struct opts *o, const dowel_batch *in, uint32_t s)
{
    double n = dowel_seq_len(in, s);
    double scale = dowel_x(in, DOWEL_WEIGHT)[s] * normalizer_of(o->normalizer, in, n);
    dowel_seq_add(in, s, dowel_grad(in, DOWEL_DIVERGENCE), scale);
    return scale * dowel_seq_sum(in, s, dowel_x(in, DOWEL_DIVERGENCE), NULL);
}

static dowel_status minillm_loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const struct opts *o = self;
    struct sums m = {0};
    double *a = advantages(in);
    dowel_status st = check(o, in, err);
    for (uint32_t s = 0; st == DOWEL_OK && s < in->n_seq; s++) {
        to_go(o, in, s, a);
        *loss += sequence(o, in, s, a, &m);
        if (o->single_step)
            *loss += exact_part(o, in, s);
    }
    report(o, in, &m);
    if (o->single_step)
        report_token_mean(in, DOWEL_DIVERGENCE, "divergence");
    return st;
}

/* ---- the three plugins ---- */

static const char *const shown[] = {"teacher_kl", "entropy", NULL};
static const dowel_objective opd_objective = {.size = sizeof opd_objective,
                                              .feeds_on = DOWEL_ROLLOUTS | DOWEL_TEXTS,
                                              .shown = shown,
                                              .observe = opd_observe,
                                              .loss = opd_loss};
static const dowel_objective iw_objective = {.size = sizeof iw_objective,
                                             .feeds_on = DOWEL_ROLLOUTS,
                                             .shown = shown,
                                             .observe = opd_observe,
                                             .loss = iw_loss};
static const dowel_objective minillm_objective = {.size = sizeof minillm_objective,
                                                  .feeds_on = DOWEL_ROLLOUTS,
                                                  .shown = shown,
                                                  .observe = minillm_observe,
                                                  .loss = minillm_loss};
static const dowel_plugin opd = {
    DOWEL_PLUGIN("opd", "1.0.0", "On-policy distillation through sampled tokens.",
                 DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, opd_params), .objective = &opd_objective};
static const dowel_plugin iw_opd = {
    DOWEL_PLUGIN("iw_opd", "1.0.0", "On-policy distillation that weighs early tokens more.",
                 DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, iw_params), .objective = &iw_objective};
static const dowel_plugin minillm = {
    DOWEL_PLUGIN("minillm", "1.0.0", "On-policy distillation that charges later tokens too.",
                 DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, minillm_params), .objective = &minillm_objective};
DOWEL_MODULE(&opd, &iw_opd, &minillm);
