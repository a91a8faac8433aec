/* best: keeps or weighs the answers that scored best, for training on what succeeded. */
#include <dowel/plugin.h>
#include <math.h>
#include <stdlib.h>

enum { BEST, ALL, SOFTMAX };
static const char *const selections[] = {"best", "all", "softmax", NULL};
#define ANY (-1e300)

struct opts {
    int64_t select, k;
    double at_least, temperature;
};

static const dowel_param params[] = {
    DOWEL_OPT_CHOICE(struct opts, select, "best", selections, 0,
                     "Of a prompt's answers keep the best, all, or all with softmax weights."),
    DOWEL_OPT_INT(struct opts, k, "1", 1, 65536, 0, "best: how many are kept."),
    DOWEL_OPT_REAL(struct opts, at_least, "-1e300", ANY, 1e300, DOWEL_TUNABLE,
                   "Answers that score less are never kept."),
    DOWEL_OPT_REAL(struct opts, temperature, "1", 1e-6, 1e6, DOWEL_TUNABLE,
                   "softmax: by how much a score must be higher to weigh e times as much."),
};

struct member {
    int32_t group;
    uint32_t seq;
    double reward;
    uint64_t id;
};

/* By prompt, the best first; of equals the one sampled first, however the rollout was ordered. */
static int by_reward(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    if (x->reward != y->reward)
        return x->reward > y->reward ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* The scored answers, prompt after prompt. Nothing is kept yet. */
static uint32_t collect(const dowel_batch *in, dowel_credit *out, struct member *m)
{
    const dowel_column *reward = &in->col[DOWEL_REWARD];
    uint32_t n = 0;
    for (uint32_t s = 0; s < in->n_seq; s++) {
        double r = reward->x[(size_t)s * reward->width];
        out->keep[s] = 0;
        if (in->role[s] == DOWEL_TRAINED && !isnan(r))
            m[n++] = (struct member){in->group[s], s, r, in->id[s]};
    }
    qsort(m, n, sizeof *m, by_reward);
    return n;
}

/* ---- what more samples would give ---- */

enum { POWERS = 16 }; /* best of 2, 4, 8 .. 65536 */

struct sums {
    double prompts, passed, answers, kept, reward, reward_kept, bound;
    double best[POWERS], pass[POWERS], counted[POWERS];
};

/* Unbiased estimate of the mean of the best of n drawn without replacement: the i-th best of N is
 * it with chance C(N-i, n-1) / C(N, n), kept as a running product since the binomials overflow.
 * x: N numbers, the best first, or NULL: 1 for the first `ones` and 0 for the others, which is
 * pass@n. */
static double best_of(const struct member *x, double ones, uint32_t N, uint32_t n)
{
    double chance = (double)n / N, sum = 0;
    for (uint32_t i = 1; i + n <= N + 1; i++) {
        sum += chance * (x ? x[i - 1].reward : i <= ones);
        if (N - i > 0)
            chance *= (double)(N - i - n + 1) / (N - i);
    }
    return sum;
}

static void foresee(const struct opts *o, const struct member *m, uint32_t n, double passed,
                    struct sums *sums)
{
    for (uint32_t p = 0, k = 2; p < POWERS && k <= n; p++, k *= 2) {
        sums->best[p] += best_of(m, 0, n, k);
        sums->pass[p] += o->at_least > ANY ? best_of(NULL, passed, n, k) : 0;
        sums->counted[p] += 1;
    }
    sums->bound += log(n) - (n - 1.0) / n;
}

/* ---- the choice ---- */

/* One prompt's answers, the best first; those that pass come before those that do not. */
static void choose(const struct opts *o, dowel_credit *out, const struct member *m, uint32_t n,
                   struct sums *sums)
{
    uint32_t passed = 0, kept;
    double total = 0;
    while (passed < n && m[passed].reward >= o->at_least)
        passed++;
    kept = o->select == BEST && o->k < passed ? (uint32_t)o->k : passed;
    for (uint32_t i = 0; i < kept; i++)
        total += exp((m[i].reward - m[0].reward) / o->temperature);
    for (uint32_t i = 0; i < kept; i++) {
        uint32_t s = m[i].seq;
        out->keep[s] = 1;
        if (o->select == SOFTMAX) /* 1 on average */
            out->weight[s] = kept * exp((m[i].reward - m[0].reward) / o->temperature) / total;
        sums->reward_kept += m[i].reward;
    }
    for (uint32_t i = 0; i < n; i++)
        sums->reward += m[i].reward;
    sums->prompts += 1;
    sums->passed += passed > 0;
    sums->answers += n;
    sums->kept += kept;
    foresee(o, m, n, passed, sums);
}

static void report(const struct opts *o, const dowel_host *host, const struct sums *m)
{
    host->metric(host, "reward", DOWEL_MEAN, m->reward / m->answers, m->answers);
    host->metric(host, "coverage", DOWEL_MEAN, m->passed / m->prompts, m->prompts);
    host->metric(host, "kept", DOWEL_MEAN, m->kept / m->answers, m->answers);
    if (m->kept > 0)
        host->metric(host, "reward_kept", DOWEL_MEAN, m->reward_kept / m->kept, m->kept);
    if (o->select == BEST && o->k == 1)
        host->metric(host, "kl_upper_bound", DOWEL_MEAN, m->bound / m->prompts, m->prompts);
    for (uint32_t p = 0, k = 2; p < POWERS && m->counted[p] > 0; p++, k *= 2) {
        char name[40];
        double n = m->counted[p];
        snprintf(name, sizeof name, "best_of_%u", k);
        host->metric(host, name, DOWEL_MEAN, m->best[p] / n, n);
        snprintf(name, sizeof name, "pass_at_%u", k);
        if (o->at_least > ANY)
            host->metric(host, name, DOWEL_MEAN, m->pass[p] / n, n);
    }
}

static dowel_status estimate(void *self, const dowel_batch *in, dowel_credit *out, dowel_err *err)
{
    const struct opts *o = self;
    struct sums sums = {0};
    if (in->n_seq == 0)
        return DOWEL_OK;
    if (!dowel_x(in, DOWEL_REWARD))
        return dowel_fail(err, DOWEL_E_ARG, "the rollout has no rewards; name at least one");
    struct member *m = in->host->scratch(in->host, in->n_seq * sizeof *m);
    uint32_t n = collect(in, out, m);
    for (uint32_t first = 0, last; first < n; first = last) {
        for (last = first + 1; last < n && m[last].group == m[first].group; last++)
            ;
        choose(o, out, m + first, last - first, &sums);
    }
    if (n > 0)
        report(o, in->host, &sums);
    return DOWEL_OK;
}

static const dowel_estimator estimator = {.size = sizeof estimator, .estimate = estimate};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("best", "1.0.0", "Best-of-n selection: train on the answers that scored best.",
                 DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params), .estimator = &estimator};
DOWEL_MODULE(&plugin);
