/* group: an answer's reward against those of the other answers to its prompt. */
#include "../group.h"

#include "../streams.h"

enum { MEAN = 0, LEAVE_ONE_OUT = 1, LENGTH = 2, BEST = 3 };
static const char *const baselines[] = {"mean", "leave_one_out", "length", "best", NULL};

struct opts {
    SHAPING_EMBEDDED;
    int64_t baseline, scale;
    double eps;
    bool normalize_parts;
};

static const dowel_param params[] = {
    DOWEL_OPT_CHOICE(struct opts, baseline, "mean", baselines, 0,
                     "What is subtracted: the group's mean, that of the others, the mean by "
                     "length; or only the best answer counts."),
    DOWEL_OPT_CHOICE(struct opts, scale, "group", scale_names, 0,
                     "Divide by the standard deviation of the group or the batch."),
    DOWEL_OPT_REAL(struct opts, eps, "1e-4", 0, 1, 0,
                   "Added to that standard deviation before dividing."),
    DOWEL_OPT_BOOL(struct opts, normalize_parts, "false", 0,
                   "Standardise every reward by itself in its group, then the sum in the batch."),
    SHAPING_PARAMS(struct opts, "0"),
};

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = ((struct shaper *)self)->opts;
    if (o->normalize_parts && (o->kl > 0 || o->missing_eos != EOS_IGNORE || o->normalize_rewards))
        return dowel_fail(err, DOWEL_E_ARG,
                          "normalize_parts takes the rewards as they are; leave kl, missing_eos "
                          "and normalize_rewards out");
    return shaping_observe(&o->shape, ask, err);
}

/* ---- one group ---- */

static double length_mean(const dowel_batch *in, const struct member *m, size_t n)
{
    double tokens = 0, sum = 0;
    for (size_t i = 0; i < n; i++) {
        double len = dowel_seq_len(in, m[i].seq);
        tokens += len;
        sum += len * (m[i].reward - m[0].reward);
    }
    return m[0].reward + (tokens > 0 ? sum / tokens : 0);
}

/* The best answer gets its lead over the second best, the others nothing. */
static void best_only(const dowel_batch *in, dowel_credit *out, const struct member *m, size_t n,
                      double divisor)
{
    size_t best = 0;
    double second = -INFINITY;
    for (size_t i = 1; i < n; i++)
        if (m[i].reward > m[best].reward)
            best = i;
    for (size_t i = 0; i < n; i++)
        if (i != best)
            second = fmax(second, m[i].reward);
    if (n > 1)
        spread(in, out, m[best].seq, (m[best].reward - second) / divisor);
}

static void one_group(const struct opts *o, const dowel_batch *in, dowel_credit *out,
                      const struct member *m, size_t n, double batch_std)
{
    struct moments g = moments_of(m, n);
    double divisor = group_divisor(o->scale, o->eps, g.std, batch_std);
    /* an answer alone, or one of equals, says nothing about its prompt */
    if (g.flat || !(divisor > 0))
        return;
    if (o->baseline == BEST) {
        best_only(in, out, m, n, divisor);
        return;
    }
    double by_length = o->baseline == LENGTH ? length_mean(in, m, n) : 0;
    for (size_t i = 0; i < n; i++) {
        double base = o->baseline == MEAN     ? g.mean
                      : o->baseline == LENGTH ? by_length
                                              : others_mean(g.mean, m[i].reward, n);
        spread(in, out, m[i].seq, (m[i].reward - base) / divisor);
    }
}

/* ---- several rewards, each standardised by itself ---- */

/* Adds the weighted standardised rewards of column `part` to z[n_seq], and 1 to seen[s] where there
 * is one; differs[s] becomes 1 in groups that disagree. */
static void add_part(const struct opts *o, const dowel_batch *in, uint32_t part, double *z,
                     uint8_t *seen, uint8_t *differs)
{
    const dowel_host *host = in->host;
    const dowel_column *c = &in->col[DOWEL_REWARD];
    struct member *m = host->scratch(host, (in->n_seq + 1) * sizeof *m);
    double w = in->part_weight ? in->part_weight[part - 1] : 1;
    size_t n = 0;
    for (uint32_t s = 0; s < in->n_seq; s++) {
        double r = c->x[(size_t)s * c->width + part];
        if (isnan(r) || (in->role && in->role[s] != DOWEL_TRAINED))
            continue;
        m[n++] = (struct member){in->group[s], s, r};
        seen[s] = 1;
    }
    qsort(m, n, sizeof *m, by_group);
    for (size_t first = 0, last; first < n; first = last) {
        last = group_end(m, first, n);
        struct moments g = moments_of(m + first, last - first);
        for (size_t i = first; i < last && !g.flat; i++) {
            z[m[i].seq] += w * (m[i].reward - g.mean) / (g.std + o->eps);
            differs[m[i].seq] = 1;
        }
    }
}

static void by_parts(const struct opts *o, const dowel_batch *in, dowel_credit *out)
{
    const dowel_host *host = in->host;
    const uint32_t width = in->col[DOWEL_REWARD].width;
    double *z = host->scratch(host, (in->n_seq + 1) * sizeof *z);
    uint8_t *seen = host->scratch(host, in->n_seq + 1), *differs;
    struct member *m = host->scratch(host, (in->n_seq + 1) * sizeof *m);
    differs = host->scratch(host, in->n_seq + 1);
    for (uint32_t part = 1; part < width; part++)
        add_part(o, in, part, z, seen, differs);
    for (uint32_t s = 0; s < in->n_seq; s++)
        if (!seen[s])
            z[s] = NAN;
    size_t n = members_of(in, out, z, m);
    if (n == 0)
        return;
    struct moments all = moments_of(m, n);
    for (size_t i = 0; i < n; i++)
        if (!all.flat && differs[m[i].seq])
            spread(in, out, m[i].seq, (m[i].reward - all.mean) / (all.std + o->eps));
}

/* ---- the whole rollout ---- */

/* The rewards as they came, and how many prompts teach nothing: by prompt whatever `scale` is. */
static void report(const dowel_batch *in, dowel_credit *out)
{
    const dowel_host *host = in->host;
    struct member *m = host->scratch(host, (in->n_seq + 1) * sizeof *m);
    size_t n = collect(in, out, m);
    double groups = 0, flat = 0;
    if (n == 0)
        return;
    struct moments all = moments_of(m, n);
    for (size_t first = 0, last; first < n; first = last) {
        last = group_end(m, first, n);
        groups += 1;
        flat += moments_of(m + first, last - first).flat != 0;
    }
    host->metric(host, "reward", DOWEL_MEAN, all.mean, (double)n);
    host->metric(host, "reward_std", DOWEL_MEAN, all.std, (double)n);
    host->metric(host, "frac_reward_zero_std", DOWEL_MEAN, flat / groups, groups);
}

/* Takes the divergence off the scores, and says what it was. */
static void charge(const struct opts *o, struct shaping_state *st, const dowel_batch *in,
                   const dowel_credit *out, double *score)
{
    const dowel_host *host = in->host;
    double *r = host->scratch(host, (in->n_tok + 1) * sizeof *r), beta = shaping_kl(&o->shape, st);
    struct stream_sums m = {0};
    for (uint32_t s = 0; s < in->n_seq; s++) {
        if (isnan(score[s]) || !shaping_uses(in, out, s))
            continue;
        stream_count(&o->shape, in, s, &m);
        stream_kl(&o->shape, in, s, beta, r, &m);
        score[s] += dowel_seq_sum(in, s, r, NULL);
    }
    stream_report(&o->shape, st, in, &m);
    shaping_adapt(&o->shape, st, m.kl[KL_K1], m.n);
}

static dowel_status estimate(void *self, const dowel_batch *in, dowel_credit *out, dowel_err *err)
{
    struct shaper *x = self;
    const struct opts *o = x->opts;
    const dowel_host *host = in->host;
    if (in->n_seq == 0)
        return DOWEL_OK;
    if (!dowel_x(in, DOWEL_REWARD))
        return dowel_fail(err, DOWEL_E_ARG, "the rollout has no rewards; name at least one");
    if (o->normalize_parts && in->col[DOWEL_REWARD].width < 2)
        return dowel_fail(err, DOWEL_E_ARG, "normalize_parts needs rewards with names");
    double *score = host->scratch(host, (in->n_seq + 1) * sizeof *score);
    struct member *m = host->scratch(host, (in->n_seq + 1) * sizeof *m);
    shaping_scores(&o->shape, &x->state, in, out, score);
    report(in, out);
    if (o->normalize_parts) {
        by_parts(o, in, out);
        return DOWEL_OK;
    }
    if (o->kl > 0)
        charge(o, &x->state, in, out, score);
    size_t n = members_of(in, out, score, m);
    double batch_std = n > 0 ? moments_of(m, n).std : 0;
    for (size_t first = 0, last; first < n; first = last) {
        last = group_end(m, first, n);
        one_group(o, in, out, m + first, last - first, batch_std);
    }
    return DOWEL_OK;
}

static const dowel_estimator estimator = {
    .size = sizeof estimator, .observe = observe, .estimate = estimate};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("group", "1.0.0", "Rewards against those of the same prompt's other answers.", 0),
    DOWEL_OPTIONS(struct opts, params), SHAPER_CALLS, .estimator = &estimator};
DOWEL_MODULE(&plugin);
