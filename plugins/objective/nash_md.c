/* nash_md: Nash learning by mirror descent; the policy's answer is preferred, or not, over one from
 * a mixture of policy and reference. */
#include <dowel/plugin.h>

#include "../online.h"
#include "../primitives.h"

enum { TOKEN, REWARD_TO_GO };
static const char *const forms[] = {"token", "reward_to_go", NULL};

struct opts {
    int64_t kl_form, samples;
    double beta, mixture, missing_eos_penalty;
};

static const dowel_param params[] = {
    DOWEL_OPT_REAL(struct opts, beta, "0.1", 0, 100, DOWEL_TUNABLE,
                   "Weight of the divergence from the reference."),
    DOWEL_OPT_REAL(struct opts, mixture, "0.5", 0, 1, 0,
                   "Share of the reference's logits in the opponent's."),
    DOWEL_OPT_CHOICE(struct opts, kl_form, "token", forms, 0,
                     "Charge a token with its own log-ratio, or with all from it on."),
    DOWEL_OPT_INT(struct opts, samples, "1", 1, 1024, 0,
                  "Answers of the mixture per prompt, averaged over."),
    DOWEL_OPT_REAL(struct opts, missing_eos_penalty, "0", 0, 1e6, 0,
                   "Taken off the reward of an answer that did not come to its end."),
};

/* ---- advantages: how likely the answer is the better one ---- */

static dowel_status ask_samples(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = self;
    (void)err;
    ask->extras = DOWEL_WITH_MIXTURE;
    ask->mixture = o->mixture;
    ask->extra_samples = (uint32_t)o->samples;
    return DOWEL_OK;
}

static dowel_status ask_credit(void *self, dowel_request *ask, dowel_err *err)
{
    ask->columns = DOWEL_BIT(DOWEL_OLD_LOGP) | DOWEL_BIT(DOWEL_REF_LOGP);
    return ask_samples(self, ask, err);
}

/* Sums over the policy's answers of a rollout. */
struct seen {
    double n, p, own, other, margin, right;
};

static double log_ratio(const dowel_batch *in, uint32_t s)
{
    const double *logp = dowel_x(in, DOWEL_OLD_LOGP), *ref = dowel_x(in, DOWEL_REF_LOGP);
    return logp && ref ? dowel_seq_sum(in, s, logp, ref) : 0;
}

static void compare(const dowel_batch *in, dowel_credit *out, const struct scored_answer *own,
                    const struct scored_group *g, struct seen *m)
{
    double p = 0, other = 0, ratio = 0, n = g->n_other;
    for (uint32_t k = 0; k < g->n_other; k++) {
        p += sigmoid(own->score - g->other[k].score) / n;
        other += g->other[k].score / n;
        ratio += log_ratio(in, g->other[k].seq) / n;
    }
    double margin = log_ratio(in, own->seq) - ratio;
    for (uint32_t t = in->start[own->seq]; t < in->start[own->seq + 1]; t++)
        if (in->mask[t])
            out->advantage[t] = p - 0.5;
    out->keep[own->seq] = 1;
    m->n += 1;
    m->p += p;
    m->own += own->score;
    m->other += other;
    m->margin += margin;
    m->right += margin > 0;
}

static dowel_status estimate(void *self, const dowel_batch *in, dowel_credit *out, dowel_err *err)
{
    const struct opts *o = self;
    const dowel_host *host = in->host;
    struct scored_answer *list;
    struct scored_group g;
    struct seen m = {0};
    uint32_t n, at = 0;
    dowel_status st = online_collect(in, out, o->missing_eos_penalty, &list, &n, err);
    while (st == DOWEL_OK && online_next(list, n, &at, &g))
        for (uint32_t k = 0; g.n_other > 0 && k < g.n_own; k++)
            compare(in, out, &g.own[k], &g, &m);
    report_eos(in, "val/model_contain_eos_token", DOWEL_TRAINED);
    report_eos(in, "val/ref_contain_eos_token", DOWEL_OTHER);
    if (m.n == 0)
        return st;
    host->metric(host, "rewards/probabilities", DOWEL_MEAN, m.p / m.n, m.n);
    host->metric(host, "rewards/chosen", DOWEL_MEAN, m.own / m.n, m.n);
    host->metric(host, "rewards/rejected", DOWEL_MEAN, m.other / m.n, m.n);
    host->metric(host, "mixture_coef", DOWEL_MEAN, o->mixture, m.n);
    if (dowel_x(in, DOWEL_OLD_LOGP) && dowel_x(in, DOWEL_REF_LOGP)) {
        host->metric(host, "rewards/margins", DOWEL_MEAN, m.margin / m.n, m.n);
        host->metric(host, "rewards/accuracies", DOWEL_MEAN, m.right / m.n, m.n);
    }
    return st;
}

/* ---- loss ---- */

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    ask->columns = DOWEL_BIT(DOWEL_LOGP) | DOWEL_BIT(DOWEL_HELD_LOGP) | DOWEL_BIT(DOWEL_REF_LOGP) |
                   DOWEL_BIT(DOWEL_ADVANTAGE);
    return ask_samples(self, ask, err);
}

struct sums {
    double n, score, kl, ratio, logp;
};

/* The factors of the log-probabilities are constants to the derivative. */
static double sequence(const struct opts *o, const dowel_batch *in, uint32_t s, struct sums *m)
{
    const double *logp = dowel_x(in, DOWEL_LOGP), *ref = dowel_x(in, DOWEL_REF_LOGP);
    const double *a = dowel_x(in, DOWEL_ADVANTAGE), *held = dowel_held(in);
    double *grad = dowel_grad(in, DOWEL_LOGP), score = 0, kl = 0, ratio = 0;
    double scale = dowel_x(in, DOWEL_WEIGHT)[s] / in->step_seqs;
    for (uint32_t t = in->start[s + 1]; t-- > in->start[s];) {
        if (!in->mask[t])
            continue;
        double d = held[t] - ref[t];
        ratio += d; /* from the end: all that is still to come */
        double charge = o->kl_form == TOKEN ? d : ratio;
        score -= a[t] * logp[t];
        kl += charge * logp[t];
        grad[t] += scale * (o->beta * charge - a[t]);
    }
    m->n += 1;
    m->score += score;
    m->kl += kl;
    m->ratio += ratio;
    m->logp += dowel_seq_sum(in, s, logp, NULL);
    return scale * (o->beta * kl + score);
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const struct opts *o = self;
    const dowel_host *host = in->host;
    struct sums m = {0};
    if (in->n_tok > 0 && (!dowel_x(in, DOWEL_ADVANTAGE) || !dowel_x(in, DOWEL_REF_LOGP)))
        return dowel_fail(err, DOWEL_E_ARG, "the batch has no advantages; give it rollouts");
    for (uint32_t s = 0; s < in->n_seq; s++)
        if (in->role[s] == DOWEL_TRAINED && dowel_seq_len(in, s) > 0)
            *loss += sequence(o, in, s, &m);
    if (m.n == 0)
        return DOWEL_OK;
    host->metric(host, "loss/score", DOWEL_MEAN, m.score / m.n, m.n);
    host->metric(host, "loss/kl", DOWEL_MEAN, m.kl / m.n, m.n);
    host->metric(host, "objective/kl", DOWEL_MEAN, m.ratio / m.n, m.n);
    host->metric(host, "objective/entropy", DOWEL_MEAN, -m.logp / m.n, m.n);
    host->metric(host, "logps/chosen", DOWEL_MEAN, m.logp / m.n, m.n);
    host->metric(host, "beta", DOWEL_MEAN, o->beta, m.n);
    return DOWEL_OK;
}

static const char *const shown[] = {"rewards/probabilities", "objective/kl", NULL};
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_ROLLOUTS,
                                          .shown = shown,
                                          .observe = observe,
                                          .loss = loss};
static const dowel_estimator estimator = {
    .size = sizeof estimator, .observe = ask_credit, .estimate = estimate};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("nash_md", "1.0.0", "Nash learning from preferences by mirror descent.",
                 DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params), .objective = &objective, .estimator = &estimator};
DOWEL_MODULE(&plugin);
