/* ppo_lag: proximal policy optimisation under a constraint on a cost, with a critic for the reward
 * and one for the cost. */
#include <string.h>

#include "../ppo.h"
#include "../streams.h"

enum { LOG = 0, PROJECTED = 1 };
static const char *const updates[] = {"log", "projected", NULL};
enum { WINDOW = 1024, HEADS = 2, REWARD_HEAD = 0, COST_HEAD = 1 };

struct opts {
    SHAPING_EMBEDDED;
    PPO_EMBEDDED;
    double gamma, lambda, cost_limit, multiplier, multiplier_lr, multiplier_max, stream_clip;
    int64_t update, window;
    const char *cost;
    bool whiten;
};

static const dowel_param params[] = {
    DOWEL_OPT_STR(struct opts, cost, NULL, 0, "The reward that is the cost, by its name."),
    DOWEL_OPT_REAL(struct opts, cost_limit, "0", -1e6, 1e6, DOWEL_TUNABLE,
                   "What the mean cost of an answer may be."),
    DOWEL_OPT_REAL(struct opts, multiplier, "1", 0, 1e6, 0, "The multiplier at the start."),
    DOWEL_OPT_REAL(struct opts, multiplier_lr, "0.1", 0, 1e3, DOWEL_TUNABLE,
                   "How fast the multiplier follows the cost."),
    DOWEL_OPT_REAL(struct opts, multiplier_max, "5", 0, 1e6, 0, "Its upper limit."),
    DOWEL_OPT_CHOICE(struct opts, update, "log", updates, 0,
                     "The multiplier moves in log space, or by projected ascent."),
    DOWEL_OPT_INT(struct opts, window, "128", 1, WINDOW, 0,
                  "Over how many of the last answers the cost is averaged."),
    DOWEL_OPT_REAL(struct opts, gamma, "1", 0, 1, DOWEL_TUNABLE, "Discount of a reward per token."),
    DOWEL_OPT_REAL(struct opts, lambda, "0.95", 0, 1, DOWEL_TUNABLE,
                   "From one step (0) to whole returns (1)."),
    DOWEL_OPT_REAL(struct opts, stream_clip, "50", 0, 1e9, 0,
                   "Limit of the reward and the cost of one token."),
    DOWEL_OPT_BOOL(struct opts, whiten, "true", 0, "Standardise advantages over the rollout."),
    PPO_PARAMS(struct opts, "5"),
    SHAPING_PARAMS(struct opts, "0.01"),
};

/* Doubles only: it is saved as it lies in memory. */
struct state {
    struct shaping_state shape;
    double multiplier, seen;
    double cost[WINDOW]; /* a ring of the last ones */
};

struct lag {
    const struct opts *opts;
    struct state state;
};

/* ---- instance ---- */

static dowel_status create(const dowel_host *host, const void *config, void **self, dowel_err *err)
{
    const struct opts *o = config;
    (void)host;
    if (!*o->cost)
        return dowel_fail(err, DOWEL_E_ARG, "cost is empty; name the reward that is the cost");
    if (o->multiplier > o->multiplier_max || (o->update == LOG && o->multiplier <= 0))
        return dowel_fail(
            err, DOWEL_E_ARG, "multiplier %g must be %s 0 and not above multiplier_max %g",
            o->multiplier, o->update == LOG ? "above" : "at least", o->multiplier_max);
    struct lag *x = calloc(1, sizeof *x);
    if (!x)
        return dowel_fail(err, DOWEL_E_NOMEM, "out of memory");
    x->opts = o;
    x->state.shape = shaping_start();
    x->state.multiplier = o->multiplier;
    *self = x;
    return DOWEL_OK;
}

static dowel_status save(void *self, dowel_sink *to, dowel_err *err)
{
    const struct lag *x = self;
    dowel_status rc = to->write(to, &x->state, sizeof x->state);
    return rc < 0 ? dowel_fail(err, rc, "the multiplier cannot be written") : DOWEL_OK;
}

static dowel_status load(void *self, dowel_source *from, uint32_t version, dowel_err *err)
{
    struct lag *x = self;
    struct state s;
    (void)version;
    dowel_status rc = shaping_load(&s.shape, from, err);
    if (rc < 0)
        return rc;
    rc = from->read(from, &s.multiplier, sizeof s - offsetof(struct state, multiplier));
    if (rc < 0)
        return dowel_fail(err, rc, "the multiplier cannot be read");
    if (!(s.multiplier >= 0 && s.seen >= 0 && isfinite(s.multiplier + s.seen)))
        return dowel_fail(err, DOWEL_E_STATE, "the saved multiplier is damaged");
    x->state = s;
    return DOWEL_OK;
}

/* ---- the multiplier ---- */

static double window_mean(const struct lag *x)
{
    size_t have = (size_t)fmin(x->state.seen, (double)x->opts->window);
    double sum = 0;
    for (size_t k = 0; k < have; k++)
        sum += x->state.cost[k];
    return have > 0 ? sum / (double)have : 0;
}

/* The costs of the rollout enter the window; then the multiplier moves once. */
static void adapt(struct lag *x, const dowel_batch *in, const double *cost)
{
    const struct opts *o = x->opts;
    struct state *st = &x->state;
    const dowel_host *host = in->host;
    double n = 0, sum = 0;
    for (uint32_t s = 0; s < in->n_seq; s++) {
        if (isnan(cost[s]) || (in->role && in->role[s] != DOWEL_TRAINED))
            continue;
        st->cost[(size_t)fmod(st->seen, (double)o->window)] = cost[s];
        st->seen += 1;
        n += 1;
        sum += cost[s];
    }
    if (n == 0)
        return;
    double over = window_mean(x) - o->cost_limit, lr = o->multiplier_lr;
    double next = o->update == LOG ? st->multiplier * exp(fmin(lr * st->multiplier * over, 300))
                                   : st->multiplier + lr * over;
    st->multiplier = fmin(fmax(next, 0), o->multiplier_max);
    host->metric(host, "cost", DOWEL_MEAN, sum / n, n);
    host->metric(host, "cost_window", DOWEL_MEAN, window_mean(x), 1);
    host->metric(host, "lambda", DOWEL_MEAN, st->multiplier, 1);
}

/* ---- estimator ---- */

static dowel_status observe_rollout(void *self, dowel_request *ask, dowel_err *err)
{
    const struct lag *x = self;
    ask->columns |= DOWEL_BIT(DOWEL_OLD_VALUE);
    ask->value_width = HEADS;
    return shaping_observe(&x->opts->shape, ask, err);
}

/* Whether a reward other than `cost` has an opinion, or there is no other. */
static bool has_reward(const double *x, uint32_t width, uint32_t cost)
{
    bool any = width <= 2;
    for (uint32_t k = 1; k < width; k++)
        any = any || (k != cost && !isnan(x[k]));
    return any;
}

/* Splits the mix into reward and cost, each n_seq. */
static dowel_status split(const struct opts *o, const dowel_batch *in, double *reward, double *cost,
                          dowel_err *err)
{
    const dowel_column *c = &in->col[DOWEL_REWARD];
    uint32_t at = 0;
    for (uint32_t k = 1; in->part && k < c->width; k++)
        if (strcmp(in->part[k - 1], o->cost) == 0)
            at = k;
    if (at == 0)
        return dowel_fail(err, DOWEL_E_ARG, "cost '%.100s' is none of the rewards", o->cost);
    const double w = in->part_weight ? in->part_weight[at - 1] : 0;
    for (uint32_t s = 0; s < in->n_seq; s++) {
        const double *x = c->x + (size_t)s * c->width;
        cost[s] = x[at];
        reward[s] = has_reward(x, c->width, at) ? x[0] - w * x[at] : NAN;
    }
    return DOWEL_OK;
}

/* What the rollout is split into: raw, shaped and cost are n_seq, r and c are n_tok. */
struct parts {
    double *raw, *shaped, *cost, *r, *c;
};

/* Scores at the last token, and the divergence in both streams, so that its weight in the mixture
 * is the same for every multiplier. */
static void fill_streams(const struct lag *x, const dowel_batch *in, dowel_credit *out,
                         const struct parts *p, struct stream_sums *m)
{
    const struct opts *o = x->opts;
    const double beta = shaping_kl(&o->shape, &x->state.shape), most = o->stream_clip;
    for (uint32_t s = 0; s < in->n_seq; s++) {
        if (isnan(p->shaped[s]) || isnan(p->cost[s]))
            out->keep[s] = 0;
        if (!shaping_uses(in, out, s))
            continue;
        m->n += 1;
        m->score += shaping_eos(&o->shape, in, s, p->raw[s]);
        m->eos += in->stop && in->stop[s] == DOWEL_STOP_EOS;
        stream_kl(&o->shape, in, s, beta, p->r, m);
        for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++)
            p->c[t] = -p->r[t];
        p->r[stream_last(in, s)] += p->shaped[s];
        p->c[stream_last(in, s)] += p->cost[s];
        for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++) {
            p->r[t] = fmin(fmax(p->r[t], -most), most);
            p->c[t] = fmin(fmax(p->c[t], -most), most);
        }
    }
}

/* (A_R - lambda A_C) / (1 + lambda) */
static void advantages(const struct lag *x, const dowel_batch *in, dowel_credit *out,
                       const double *r, const double *c)
{
    const struct opts *o = x->opts;
    const dowel_host *host = in->host;
    const double lambda = x->state.multiplier, *v = dowel_x(in, DOWEL_OLD_VALUE);
    double *a_c = host->scratch(host, (in->n_tok + 1) * sizeof *a_c);
    const struct gae_stream reward = {r, v, out->advantage, out->ret, HEADS, REWARD_HEAD};
    const struct gae_stream cost = {c, v, a_c, out->ret, HEADS, COST_HEAD};
    for (uint32_t s = 0; s < in->n_seq; s++) {
        if (!shaping_uses(in, out, s))
            continue;
        stream_gae(in, s, o->gamma, o->lambda, &reward);
        stream_gae(in, s, o->gamma, o->lambda, &cost);
        for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++)
            out->advantage[t] = (out->advantage[t] - lambda * a_c[t]) / (1 + lambda);
    }
    if (o->whiten)
        stream_whiten(in, out, out->advantage, false, true);
}

static dowel_status estimate(void *self, const dowel_batch *in, dowel_credit *out, dowel_err *err)
{
    struct lag *x = self;
    const struct opts *o = x->opts;
    const dowel_host *host = in->host;
    struct stream_sums m = {0};
    if (in->n_seq == 0)
        return DOWEL_OK;
    if (!dowel_x(in, DOWEL_REWARD))
        return dowel_fail(err, DOWEL_E_ARG, "the rollout has no rewards; name reward and cost");
    if (!dowel_x(in, DOWEL_OLD_VALUE) || in->col[DOWEL_OLD_VALUE].width != HEADS ||
        (out->ret && out->ret_width != HEADS))
        return dowel_fail(err, DOWEL_E_ARG, "the rollout has no values of two heads");
    const size_t seqs = (in->n_seq + 1) * sizeof(double), toks = (in->n_tok + 1) * sizeof(double);
    const struct parts p = {host->scratch(host, seqs), host->scratch(host, seqs),
                            host->scratch(host, seqs), host->scratch(host, toks),
                            host->scratch(host, toks)};
    dowel_status rc = split(o, in, p.raw, p.cost, err);
    if (rc < 0)
        return rc;
    memcpy(p.shaped, p.raw, seqs);
    shaping_apply(&o->shape, &x->state.shape, in, out, p.shaped);
    adapt(x, in, p.cost);
    fill_streams(x, in, out, &p, &m);
    advantages(x, in, out, p.r, p.c);
    stream_report(&o->shape, &x->state.shape, in, &m);
    shaping_adapt(&o->shape, &x->state.shape, m.kl[KL_K1], m.n);
    return DOWEL_OK;
}

/* ---- loss ---- */

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    return ppo_observe(&((const struct lag *)self)->opts->ppo, HEADS, ask, err);
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    return ppo_loss(&((const struct lag *)self)->opts->ppo, HEADS, in, loss, err);
}

static const char *const shown[] = {"objective/scores", "cost", "lambda", NULL};
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_ROLLOUTS,
                                          .shown = shown,
                                          .observe = observe,
                                          .loss = loss};
static const dowel_estimator estimator = {
    .size = sizeof estimator, .observe = observe_rollout, .estimate = estimate};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("ppo_lag", "1.0.0", "Proximal policy optimisation under a constraint.", 0),
    DOWEL_OPTIONS(struct opts, params),
    .state_version = 1,
    .create = create,
    .destroy = free,
    .save = save,
    .load = load,
    .objective = &objective,
    .estimator = &estimator};
DOWEL_MODULE(&plugin);
