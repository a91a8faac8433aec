/* grpo: group-relative policy optimisation; advantages from the rewards of one prompt's answers,
 * and the family of policy losses that use them. */
#include <dowel/plugin.h>

#include "../entropy.h"
#include "../group.h"
#include "../kl_loss.h"
#include "../sampler.h"

enum {
    CLIP = 0,
    GRPO,
    DAPO,
    DR_GRPO,
    BNPO,
    GSPO,
    GSPO_TOKEN,
    LUSPO,
    GMPO,
    CISPO,
    SAPO,
    VESPO,
};
static const char *const losses[] = {"clip", "grpo",       "dapo",  "dr_grpo", "bnpo",
                                     "gspo", "gspo_token", "luspo", "gmpo",    "cispo",
                                     "sapo", "vespo",      NULL};
/* In the order of NORM_*, then what the loss implies. */
enum { NORM_AUTO = 4 };
static const char *const normalizers[] = {"token", "sequence", "constant", "sum", "auto", NULL};

/* What a name stands for; options that are given take the place of these. */
static const struct {
    int form, ratio, normalizer;
    double low, high;
} presets[] = {
    [CLIP] = {FORM_CLIP, RATIO_TOKEN, NORM_TOKEN, 0.2, 0.2},
    [GRPO] = {FORM_CLIP, RATIO_TOKEN, NORM_SEQUENCE, 0.2, 0.2},
    [DAPO] = {FORM_CLIP, RATIO_TOKEN, NORM_TOKEN, 0.2, 0.28},
    [DR_GRPO] = {FORM_CLIP, RATIO_TOKEN, NORM_CONSTANT, 0.2, 0.2},
    [BNPO] = {FORM_CLIP, RATIO_TOKEN, NORM_TOKEN, 0.2, 0.2},
    [GSPO] = {FORM_CLIP, RATIO_MEAN, NORM_SEQUENCE, 3e-4, 4e-4},
    [GSPO_TOKEN] = {FORM_CLIP, RATIO_MEAN_TOKEN, NORM_SEQUENCE, 3e-4, 4e-4},
    [LUSPO] = {FORM_CLIP, RATIO_MEAN, NORM_SUM, 3e-4, 4e-4},
    [GMPO] = {FORM_GMPO, RATIO_TOKEN, NORM_SEQUENCE, 0.4, 0.4},
    [CISPO] = {FORM_CISPO, RATIO_TOKEN, NORM_TOKEN, 0, 0},
    [SAPO] = {FORM_SAPO, RATIO_TOKEN, NORM_SEQUENCE, 0, 0},
    [VESPO] = {FORM_VESPO, RATIO_TOKEN, NORM_TOKEN, 0, 0},
};

struct opts {
    int64_t loss, normalizer, kl_estimator, scale_rewards, correction;
    double clip, clip_high, delta, dual_clip, e_max, tau_pos, tau_neg;
    double k_pos, lambda_pos, k_neg, lambda_neg;
    double kl, eps, off_policy_max, correction_min, correction_max;
    double top_entropy, entropy_bonus, entropy_target, entropy_delta, entropy_min, entropy_max;
    bool kl_exact, entropy_adaptive;
};

static const dowel_param params[] = {
    DOWEL_OPT_CHOICE(struct opts, loss, "clip", losses, 0,
                     "Form of the policy loss; the name also stands for a normaliser and bounds."),
    DOWEL_OPT_REAL(struct opts, clip, "-1", -1, 1, DOWEL_TUNABLE,
                   "How far below 1 the ratio may push an unwanted token; -1: the loss's own."),
    DOWEL_OPT_REAL(struct opts, clip_high, "-1", -1, 1e6, DOWEL_TUNABLE,
                   "How far above 1 the ratio may push a wanted token; -1: the loss's own."),
    DOWEL_OPT_REAL(struct opts, delta, "0", 0, 1e6, DOWEL_TUNABLE,
                   "Largest ratio of an unwanted token, above 1 + clip_high; 0: no limit."),
    DOWEL_OPT_REAL(struct opts, dual_clip, "0", 0, 1e6, DOWEL_TUNABLE,
                   "Largest loss of an unwanted token, in advantages, above 1; 0: no limit."),
    DOWEL_OPT_REAL(struct opts, e_max, "5", 1e-6, 1e6, DOWEL_TUNABLE,
                   "cispo: the ratio itself is cut off here."),
    DOWEL_OPT_REAL(struct opts, tau_pos, "1", 1e-3, 1e3, 0, "sapo: temperature of wanted tokens."),
    DOWEL_OPT_REAL(struct opts, tau_neg, "1.05", 1e-3, 1e3, 0,
                   "sapo: temperature of unwanted tokens."),
    DOWEL_OPT_REAL(struct opts, k_pos, "2", 0, 100, 0, "vespo: exponent for wanted answers."),
    DOWEL_OPT_REAL(struct opts, lambda_pos, "3", 1e-4, 100, 0, "vespo: decay for wanted answers."),
    DOWEL_OPT_REAL(struct opts, k_neg, "3", 0, 100, 0, "vespo: exponent for unwanted answers."),
    DOWEL_OPT_REAL(struct opts, lambda_neg, "2", 1e-4, 100, 0,
                   "vespo: decay for unwanted answers."),
    DOWEL_OPT_CHOICE(
        struct opts, normalizer, "auto", normalizers, 0,
        "Mean over the step's tokens, over tokens and then answers, a fixed length, or "
        "the sum over tokens; auto: the loss's own."),
    DOWEL_OPT_REAL(struct opts, kl, "0", 0, 1000, DOWEL_TUNABLE,
                   "Weight of the divergence from the reference; 0 needs no reference."),
    DOWEL_OPT_CHOICE(struct opts, kl_estimator, "k2", kl_names, 0,
                     "Which form of that divergence is differentiated."),
    DOWEL_OPT_BOOL(struct opts, kl_exact, "false", 0,
                   "Report the divergence over the whole vocabulary, whatever is differentiated."),
    DOWEL_OPT_CHOICE(struct opts, correction, "none", correction_names, 0,
                     "Weigh by how likely the policy was beside what the sampler reported."),
    DOWEL_OPT_REAL(struct opts, correction_min, "0", 0, 1, 0, "Least weight of the correction."),
    DOWEL_OPT_REAL(struct opts, correction_max, "3", 1, 1e6, 0,
                   "Greatest weight of the correction."),
    DOWEL_OPT_REAL(struct opts, off_policy_max, "0", 0, 100, DOWEL_TUNABLE,
                   "Nats a token by which an unwanted answer may have become less likely; 0: any."),
    DOWEL_OPT_REAL(struct opts, top_entropy, "1", 1e-6, 1, 0,
                   "Share of the step's tokens, those of most entropy, with a policy loss."),
    DOWEL_OPT_REAL(struct opts, entropy_bonus, "0", 0, 1000, 0,
                   "Weight of the mean entropy, which is rewarded; where adaptive, at first."),
    DOWEL_OPT_BOOL(struct opts, entropy_adaptive, "false", 0,
                   "Move that weight after each step, towards entropy_target."),
    DOWEL_OPT_REAL(struct opts, entropy_target, "0.2", 0, 100, 0, "Mean entropy aimed at."),
    DOWEL_OPT_REAL(struct opts, entropy_delta, "0.005", 0, 1000, 0, "By how much in a step."),
    DOWEL_OPT_REAL(struct opts, entropy_min, "0", 0, 1000, 0, "Least weight it may reach."),
    DOWEL_OPT_REAL(struct opts, entropy_max, "1", 0, 1000, 0, "Greatest weight it may reach."),
    DOWEL_OPT_CHOICE(struct opts, scale_rewards, "group", scale_names, 0,
                     "Divide advantages by the standard deviation of the group or the batch."),
    DOWEL_OPT_REAL(struct opts, eps, "1e-4", 0, 1, 0,
                   "Added to that standard deviation before dividing."),
};

struct self {
    const struct opts *o;
    struct entropy_state entropy;
};

static dowel_status create(const dowel_host *host, const void *config, void **self, dowel_err *err)
{
    struct self *me = calloc(1, sizeof *me);
    (void)host;
    if (!me)
        return dowel_fail(err, DOWEL_E_NOMEM, "no memory for %zu bytes", sizeof *me);
    me->o = config;
    me->entropy.coef = me->o->entropy_bonus;
    *self = me;
    return DOWEL_OK;
}

static dowel_status save(void *self, dowel_sink *to, dowel_err *err)
{
    const struct self *me = self;
    (void)err;
    return to->write(to, &me->entropy, sizeof me->entropy);
}

static dowel_status load(void *self, dowel_source *from, uint32_t version, dowel_err *err)
{
    struct self *me = self;
    if (version != 1)
        return dowel_fail(err, DOWEL_E_STATE, "state of version %u, expected 1", version);
    return from->read(from, &me->entropy, sizeof me->entropy);
}

static dowel_status estimate(void *self, const dowel_batch *in, dowel_credit *out, dowel_err *err)
{
    const struct opts *o = ((const struct self *)self)->o;
    return group_estimate(o->scale_rewards, o->eps, in, out, err);
}

/* ---- what is asked for ---- */

static struct policy_rule rule_of(const struct opts *o)
{
    struct policy_rule r = {.form = presets[o->loss].form,
                            .ratio = presets[o->loss].ratio,
                            .normalizer = presets[o->loss].normalizer,
                            .low = presets[o->loss].low,
                            .high = presets[o->loss].high,
                            .cap = INFINITY,
                            .e_max = o->e_max,
                            .tau_pos = o->tau_pos,
                            .tau_neg = o->tau_neg,
                            .k_pos = o->k_pos,
                            .lambda_pos = o->lambda_pos,
                            .k_neg = o->k_neg,
                            .lambda_neg = o->lambda_neg};
    if (o->normalizer != NORM_AUTO)
        r.normalizer = o->normalizer;
    if (o->clip >= 0)
        r.low = o->clip;
    if (o->clip_high >= 0)
        r.high = o->clip_high;
    if (o->delta > 0)
        r.cap = o->delta;
    if (o->dual_clip > 0)
        r.cap = o->dual_clip;
    return r;
}

static struct kl_rule kl_of(const struct opts *o)
{
    return (struct kl_rule){o->kl, o->kl_estimator, o->kl_exact, presets[o->loss].ratio};
}

static bool bonus(const struct opts *o)
{
    return o->entropy_bonus > 0 || o->entropy_adaptive;
}

/* Options that contradict each other, or that the loss would pass over in silence. */
static dowel_status check_bounds(const struct opts *o, dowel_err *err)
{
    const char *name = losses[o->loss];
    struct policy_rule r = rule_of(o);
    bool clips = r.form == FORM_CLIP, bounded = clips || r.form == FORM_GMPO;
    if ((o->clip < 0 && o->clip > -1) || (o->clip_high < 0 && o->clip_high > -1))
        return dowel_fail(err, DOWEL_E_ARG, "clip %g and clip_high %g: each is -1 or at least 0",
                          o->clip, o->clip_high);
    if (!bounded && (o->clip >= 0 || o->clip_high >= 0))
        return dowel_fail(err, DOWEL_E_ARG,
                          "loss = '%s' does not clip; leave out clip, clip_high%s", name,
                          o->loss == CISPO ? " and set e_max, the cap itself" : "");
    if (!clips && (o->delta > 0 || o->dual_clip > 0))
        return dowel_fail(err, DOWEL_E_ARG, "loss = '%s' has no use for delta or dual_clip", name);
    if (o->delta > 0 && o->dual_clip > 0)
        return dowel_fail(err, DOWEL_E_ARG, "delta and dual_clip do the same; give one");
    if (o->delta > 0 && o->delta <= 1 + r.high)
        return dowel_fail(err, DOWEL_E_ARG, "delta %g must be above 1 + clip_high = %g", o->delta,
                          1 + r.high);
    if (o->dual_clip > 0 && o->dual_clip <= 1)
        return dowel_fail(err, DOWEL_E_ARG, "dual_clip %g must be above 1", o->dual_clip);
    return DOWEL_OK;
}

static dowel_status check(const struct opts *o, dowel_err *err)
{
    bool whole =
        o->correction == CORRECT_SEQUENCE_TRUNCATE || o->correction == CORRECT_SEQUENCE_MASK;
    if (o->loss == GMPO && o->kl > 0 && o->kl_estimator == KL_K3_WEIGHTED)
        return dowel_fail(err, DOWEL_E_ARG,
                          "gmpo has no ratio to weigh k3 with; use kl_estimator = 'k2' or 'exact'");
    if (o->loss == VESPO && whole)
        return dowel_fail(err, DOWEL_E_ARG,
                          "vespo weighs whole answers itself; use a token_ correction");
    if (o->entropy_min > o->entropy_max)
        return dowel_fail(err, DOWEL_E_ARG, "entropy_min %g is above entropy_max %g",
                          o->entropy_min, o->entropy_max);
    return DOWEL_OK;
}

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = ((const struct self *)self)->o;
    struct kl_rule kl = kl_of(o);
    dowel_status st = check_bounds(o, err);
    if (st == DOWEL_OK)
        st = check(o, err);
    if (st != DOWEL_OK)
        return st;
    ask->columns = DOWEL_BIT(DOWEL_LOGP) | DOWEL_BIT(DOWEL_OLD_LOGP) | DOWEL_BIT(DOWEL_ADVANTAGE) |
                   DOWEL_BIT(DOWEL_ENTROPY);
    if (o->loss == CISPO || o->loss == VESPO || o->loss == GSPO_TOKEN)
        ask->columns |= DOWEL_BIT(DOWEL_HELD_LOGP);
    if (!bonus(o))
        ask->detached = DOWEL_BIT(DOWEL_ENTROPY);
    if (o->correction != CORRECT_NONE || o->off_policy_max > 0)
        ask->columns |= DOWEL_BIT(DOWEL_SAMPLER_LOGP);
    if (o->top_entropy < 1)
        ask->together = DOWEL_BY_STEP; /* the threshold is that of all tokens */
    kl_ask(&kl, ask);
    return DOWEL_OK;
}

/* ---- loss ---- */

/* One call: the rules that hold in it, work space, and what it adds to the metrics. */
struct call {
    const struct opts *o;
    struct policy_rule rule;
    struct kl_rule kl;
    double *gate; /* n_tok: constant factors of the policy loss */
    struct entropy_call entropy;
    double tokens, policy_loss;
    struct policy_sums policy;
    struct kl_sums kl_sums;
    struct sampler_sums sampler;
};

/* Which tokens have a policy loss, and how much of it. The return value is what the correction
 * adds to the log of the sequence's ratio, for vespo. */
static double set_gate(struct call *c, const dowel_batch *in, uint32_t s)
{
    const struct opts *o = c->o;
    const double *h = dowel_x(in, DOWEL_ENTROPY);
    struct correction fix = {o->correction, o->correction_min, o->correction_max};
    double shift = 0;
    for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++)
        c->gate[t] = 1;
    if (o->correction != CORRECT_NONE)
        correct_sequence(&fix, in, s, c->gate, &c->sampler);
    for (uint32_t t = in->start[s]; o->loss == VESPO && t < in->start[s + 1]; t++) {
        shift += in->mask[t] ? log(fmin(fmax(c->gate[t], 1e-8), 4e8)) : 0;
        c->gate[t] = 1;
    }
    if (o->off_policy_max > 0)
        drop_off_policy(in, s, o->off_policy_max, c->gate, &c->sampler);
    for (uint32_t t = in->start[s]; o->top_entropy < 1 && t < in->start[s + 1]; t++)
        if (h[t] < c->entropy.threshold)
            c->gate[t] = 0;
    return shift;
}

/* One answer; the return value is its share of the loss. */
static double sequence(struct call *c, const dowel_batch *in, uint32_t s)
{
    struct policy_view v = policy_view_of(in, s, &c->rule, c->gate);
    if (v.n == 0)
        return 0;
    double shift = set_gate(c, in, s);
    double total = policy_sequence(&c->rule, &v, shift, &c->policy);
    total += kl_sequence(&c->kl, &v, &c->kl_sums);
    c->policy_loss += total;
    c->tokens += v.n;
    return total + entropy_sequence(&c->entropy, in, s);
}

static void report(const struct call *c, const struct self *me, const dowel_batch *in)
{
    const dowel_host *host = in->host;
    double n = c->tokens;
    if (n == 0)
        return;
    policy_report(&c->rule, host, &c->policy);
    if (c->kl_sums.tokens > 0)
        host->metric(host, "kl", DOWEL_MEAN, c->kl_sums.k3 / c->kl_sums.tokens, c->kl_sums.tokens);
    kl_report(&c->kl, in, &c->kl_sums);
    sampler_report(host, &c->sampler);
    if (dowel_x(in, DOWEL_ENTROPY))
        host->metric(host, "entropy", DOWEL_MEAN, c->entropy.sum / n, n);
    if (!bonus(c->o))
        return;
    /* the folded mean is the sum of the shares */
    host->metric(host, "policy_loss", DOWEL_MEAN, c->policy_loss * in->step_toks / n, n);
    host->metric(host, "entropy_coef", DOWEL_MEAN,
                 c->o->entropy_adaptive ? me->entropy.coef : c->o->entropy_bonus, n);
}

static dowel_status present(const struct opts *o, const dowel_batch *in, dowel_err *err)
{
    if (in->n_tok == 0)
        return DOWEL_OK;
    if (!dowel_x(in, DOWEL_OLD_LOGP) || !dowel_x(in, DOWEL_ADVANTAGE))
        return dowel_fail(err, DOWEL_E_ARG, "the batch has no advantages; give it rollouts");
    if (o->correction != CORRECT_NONE && !dowel_x(in, DOWEL_SAMPLER_LOGP))
        return dowel_fail(err, DOWEL_E_ARG,
                          "the rollout has no log-probabilities from its sampler; set "
                          "correction = 'none'");
    if (o->top_entropy < 1 && !dowel_x(in, DOWEL_ENTROPY))
        return dowel_fail(err, DOWEL_E_ARG, "the batch has no entropy, which top_entropy needs");
    return DOWEL_OK;
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const struct self *me = self;
    const struct opts *o = me->o;
    struct call c = {.o = o,
                     .rule = rule_of(o),
                     .kl = kl_of(o),
                     .entropy = {.active = in->step_toks, .threshold = -INFINITY},
                     .policy.low_min = 1,
                     .sampler = SAMPLER_SUMS};
    dowel_status st = present(o, in, err);
    if (st != DOWEL_OK)
        return st;
    c.gate = in->host->scratch(in->host, (in->n_tok + 1) * sizeof *c.gate);
    if (o->top_entropy < 1 && in->n_tok > 0)
        c.entropy.threshold = entropy_threshold(in, o->top_entropy, &c.entropy.active);
    c.entropy.coef =
        o->entropy_adaptive ? entropy_applied(&me->entropy, o->entropy_target) : o->entropy_bonus;
    for (uint32_t s = 0; s < in->n_seq; s++)
        *loss += sequence(&c, in, s);
    in->tally[0] += c.entropy.sum_active;
    in->tally[1] += c.entropy.tokens_active;
    report(&c, me, in);
    return DOWEL_OK;
}

static dowel_status step_end(void *self, uint64_t step, const double *tally, dowel_err *err)
{
    struct self *me = self;
    const struct opts *o = me->o;
    (void)step;
    (void)err;
    struct entropy_rule r = {o->entropy_target, o->entropy_delta, o->entropy_min, o->entropy_max};
    if (o->entropy_adaptive && tally[1] > 0)
        entropy_adapt(&me->entropy, &r, tally[0] / tally[1]);
    return DOWEL_OK;
}

static const char *const shown[] = {"reward", "frac_reward_zero_std", "kl", NULL};
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_ROLLOUTS,
                                          .n_tally = 2,
                                          .shown = shown,
                                          .observe = observe,
                                          .loss = loss,
                                          .step_end = step_end};
static const dowel_estimator estimator = {.size = sizeof estimator, .estimate = estimate};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("grpo", "1.1.0", "Group-relative policy optimisation and its relatives.",
                 DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params),
    .state_version = 1,
    .create = create,
    .destroy = free,
    .save = save,
    .load = load,
    .objective = &objective,
    .estimator = &estimator};
DOWEL_MODULE(&plugin);
