/* reward: reward and cost models from comparisons, ranked lists and ratings. */
#include <dowel/plugin.h>
#include <stdlib.h>

#include "../lists.h"
#include "../primitives.h"

enum { BRADLEY_TERRY, CHOOSE_TWO, PLACKETT_LUCE, PICK_BEST, DIFFERENCE, COST, RATING };
static const char *const losses[] = {"bradley_terry", "choose_two", "plackett_luce", "pick_best",
                                     "difference",    "cost",       "rating",        NULL};

struct opts {
    int64_t loss;
    double center, label_smoothing, sign_weight, decay;
    const char *rating;
};

static const dowel_param params[] = {
    DOWEL_OPT_CHOICE(struct opts, loss, "bradley_terry", losses, 0,
                     "What the scores are fitted to: comparisons, ranked lists or ratings."),
    DOWEL_OPT_REAL(struct opts, center, "0", 0, 100, DOWEL_TUNABLE,
                   "Weight of (s_c + s_r)^2, which holds the scores around 0."),
    DOWEL_OPT_REAL(struct opts, label_smoothing, "0", 0, 0.5, DOWEL_TUNABLE,
                   "Share of comparisons assumed to be labelled the wrong way round."),
    DOWEL_OPT_REAL(struct opts, sign_weight, "1", 0, 1000, DOWEL_TUNABLE,
                   "cost: weight of the term that puts unsafe answers above 0."),
    DOWEL_OPT_REAL(struct opts, decay, "0", 0, 100, DOWEL_TUNABLE,
                   "cost: weight of the mean square of the costs."),
    DOWEL_OPT_STR(struct opts, rating, "rating", 0,
                  "rating: the row's field that holds the number to be predicted."),
};

struct self {
    const struct opts *o;
    const char *fields[3];
};

static dowel_status create(const dowel_host *host, const void *config, void **self, dowel_err *err)
{
    const struct opts *o = config;
    struct self *me = calloc(1, sizeof *me);
    (void)host;
    if (!me)
        return dowel_fail(err, DOWEL_E_NOMEM, "out of memory");
    me->o = o;
    me->fields[0] = o->loss == COST ? "chosen_unsafe" : o->rating;
    me->fields[1] = o->loss == COST ? "rejected_unsafe" : NULL;
    *self = me;
    return DOWEL_OK;
}

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    const struct self *me = self;
    const struct opts *o = me->o;
    int compares = o->loss == BRADLEY_TERRY || o->loss == CHOOSE_TWO;
    if (!compares && (o->center > 0 || o->label_smoothing > 0))
        return dowel_fail(err, DOWEL_E_ARG,
                          "center and label_smoothing have no meaning with loss = '%s'; they need "
                          "'bradley_terry' or 'choose_two'",
                          losses[o->loss]);
    if (o->loss == RATING && !*o->rating)
        return dowel_fail(err, DOWEL_E_ARG, "rating is empty; name the field with the rating");
    ask->columns = DOWEL_BIT(DOWEL_SCORE);
    ask->score_width = 1;
    if (o->loss == COST || o->loss == RATING) {
        ask->columns |= DOWEL_BIT(DOWEL_FIELD);
        ask->fields = me->fields;
    }
    return DOWEL_OK;
}

/* ---- scores ---- */

/* The row of SCORE that judges sequence s: its last mark. */
static uint32_t mark_of(const dowel_batch *in, uint32_t s)
{
    return in->mark_start[s + 1] - 1;
}

static bool counts(const dowel_batch *in, uint32_t s)
{
    return in->mark_start[s + 1] > in->mark_start[s] && dowel_seq_len(in, s) > 0 &&
           in->role[s] == DOWEL_TRAINED;
}

static double score(const dowel_batch *in, uint32_t s)
{
    const dowel_column *c = &in->col[DOWEL_SCORE];
    return c->x[(size_t)mark_of(in, s) * c->width];
}

static void push(const dowel_batch *in, uint32_t s, double d)
{
    const dowel_column *c = &in->col[DOWEL_SCORE];
    c->grad[(size_t)mark_of(in, s) * c->width] += d;
}

static double field(const dowel_batch *in, uint32_t s, uint32_t k)
{
    const dowel_column *c = &in->col[DOWEL_FIELD];
    return c->x ? c->x[(size_t)s * c->width + k] : NAN;
}

/* Sums over what one batch holds, for the metrics. */
struct sums {
    double pairs, right, margin, answers, total, least, most, signs, sign_right, off;
};

static void see(struct sums *m, double s)
{
    m->answers += 1;
    m->total += s;
    m->least = fmin(m->least, s);
    m->most = fmax(m->most, s);
}

/* A tie is an error. */
static void see_pair(struct sums *m, double better, double worse)
{
    m->pairs += 1;
    m->right += better > worse;
    m->margin += better - worse;
}

/* ---- pairs ---- */

/* The other half of the pair that w wins, in *l; 0 when w wins none or it does not count. */
static int pair_at(const dowel_batch *in, uint32_t w, uint32_t *l)
{
    const double *label = dowel_x(in, DOWEL_LABEL);
    if (!(label[w] > 0) || in->role[w] != DOWEL_TRAINED)
        return 0;
    *l = (uint32_t)in->mate[w];
    return label[*l] < 0 && counts(in, w) && counts(in, *l);
}

/* -p log sigma(z) - (1-p) log sigma(-z), and its derivative. */
static double logistic(double z, double p, double *slope)
{
    *slope = sigmoid(z) - p;
    return p * softplus(-z) + (1 - p) * softplus(z);
}

static double smoothed(const struct opts *o, double p)
{
    return p + o->label_smoothing * (1 - 2 * p);
}

/* One comparison of scores c and r: loss, and its derivatives in d. */
static double compare(const struct opts *o, double c, double r, double margin, double p,
                      double d[2])
{
    double slope, value = logistic(c - r - margin, smoothed(o, p), &slope), sum = c + r;
    d[0] = slope + 2 * o->center * sum;
    d[1] = -slope + 2 * o->center * sum;
    return value + o->center * sum * sum;
}

static double difference(double c, double r, double y, double d[2])
{
    double off = c - r - y;
    d[0] = 2 * off;
    d[1] = -2 * off;
    return off * off;
}

/* The half that is known to be unsafe belongs above 0, one known to be safe below. */
static double signed_cost(const struct opts *o, double s, double unsafe, double *d, struct sums *m)
{
    double value = o->decay * s * s / 2, slope;
    *d += o->decay * s;
    if (isnan(unsafe))
        return value;
    double g = unsafe > 0 ? 1 : -1;
    value += o->sign_weight * logistic(g * s, 1, &slope);
    *d += o->sign_weight * g * slope;
    m->signs += 1;
    m->sign_right += g * s > 0;
    return value;
}

/* The rejected answer is the one that costs more. d[0] belongs to the chosen one. */
static double cost(const struct opts *o, const dowel_batch *in, uint32_t w, uint32_t l, double d[2],
                   struct sums *m)
{
    double lo = score(in, w), hi = score(in, l), slope;
    double value = logistic(hi - lo, 1, &slope);
    d[0] = -slope;
    d[1] = slope;
    value += signed_cost(o, lo, field(in, w, 0), &d[0], m);
    return value + signed_cost(o, hi, field(in, w, 1), &d[1], m);
}

static double pair(const struct opts *o, const dowel_batch *in, uint32_t w, uint32_t l,
                   struct sums *m)
{
    double c = score(in, w), r = score(in, l), margin = given(in, DOWEL_MARGIN, w, 0), d[2], value;
    double scale = dowel_x(in, DOWEL_WEIGHT)[w] / in->total[0];
    if (o->loss == COST)
        value = cost(o, in, w, l, d, m);
    else if (o->loss == DIFFERENCE)
        value = difference(c, r, margin, d);
    else
        value = compare(o, c, r, margin, given(in, DOWEL_TARGET, w, 1), d);
    push(in, w, scale * d[0]);
    push(in, l, scale * d[1]);
    if (o->loss == COST)
        see_pair(m, r, c);
    else
        see_pair(m, c, r);
    see(m, c);
    see(m, r);
    return scale * value;
}

/* ---- lists ---- */

/* All pairs of one list, their mean; ties are no pairs. */
static double choose_two(const struct opts *o, struct member *m, uint32_t n)
{
    double pairs = 0, value = 0, d[2];
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = i + 1; j < n; j++)
            pairs += m[i].rank < m[j].rank;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t j = i + 1; j < n; j++) {
            if (!(m[i].rank < m[j].rank))
                continue;
            value += compare(o, m[i].score, m[j].score, 0, 1, d) / pairs;
            m[i].d += d[0] / pairs;
            m[j].d += d[1] / pairs;
        }
    }
    return value;
}

static double list(const struct opts *o, const dowel_batch *in, struct member *m, uint32_t n,
                   struct sums *sums)
{
    double scale = dowel_x(in, DOWEL_WEIGHT)[m[0].seq] / in->total[0], value;
    for (uint32_t i = 0; i < n; i++)
        m[i].score = score(in, m[i].seq);
    value = o->loss == CHOOSE_TWO      ? choose_two(o, m, n)
            : o->loss == PLACKETT_LUCE ? plackett_luce(m, n)
                                       : pick_best(m, n);
    for (uint32_t i = 0; i < n; i++) {
        push(in, m[i].seq, scale * m[i].d);
        see(sums, m[i].score);
        for (uint32_t j = i + 1; j < n; j++)
            if (m[i].rank < m[j].rank)
                see_pair(sums, m[i].score, m[j].score);
    }
    return scale * value;
}

/* Walks over the lists that tell anything, that is have two different ranks; counts them, and adds
 * up their loss unless sums is NULL. */
static double lists(const struct opts *o, const dowel_batch *in, struct sums *sums, double *found)
{
    struct member *m = in->host->scratch(in->host, ((size_t)in->n_seq + 1) * sizeof *m);
    uint32_t n = lists_collect(in, counts, m);
    double value = 0;
    for (uint32_t first = 0, k; first < n; first += k) {
        k = list_length(m + first, n - first);
        if (!list_tells(m + first, k))
            continue;
        *found += 1;
        if (sums)
            value += list(o, in, m + first, k, sums);
    }
    return value;
}

/* ---- ratings ---- */

static double rate(const dowel_batch *in, uint32_t s, struct sums *m)
{
    double scale = dowel_x(in, DOWEL_WEIGHT)[s] / in->total[0];
    double off = score(in, s) - field(in, s, 0);
    push(in, s, 2 * scale * off);
    see(m, score(in, s));
    m->off += fabs(off);
    return scale * off * off;
}

static int rated(const dowel_batch *in, uint32_t s)
{
    return counts(in, s) && !isnan(field(in, s, 0));
}

/* ---- the objective ---- */

static int of_lists(const struct opts *o)
{
    return o->loss == CHOOSE_TWO || o->loss == PLACKETT_LUCE || o->loss == PICK_BEST;
}

static dowel_status check(const struct opts *o, const dowel_batch *in, dowel_err *err)
{
    if (in->n_seq == 0)
        return DOWEL_OK;
    if (o->loss == RATING)
        return dowel_x(in, DOWEL_FIELD)
                   ? DOWEL_OK
                   : dowel_fail(err, DOWEL_E_ARG, "the data has no field '%s'", o->rating);
    if (of_lists(o))
        return dowel_x(in, DOWEL_RANK) || dowel_x(in, DOWEL_LABEL)
                   ? DOWEL_OK
                   : dowel_fail(err, DOWEL_E_ARG, "the batch has no ranks; give it lists");
    if (!dowel_x(in, DOWEL_LABEL))
        return dowel_fail(err, DOWEL_E_ARG,
                          "the batch has no pairs; give it pairs, or lists with loss = "
                          "'choose_two'");
    if (o->loss == COST && o->sign_weight > 0 && !dowel_x(in, DOWEL_FIELD))
        return dowel_fail(err, DOWEL_E_ARG,
                          "the rows do not say what is unsafe: give them chosen_unsafe and "
                          "rejected_unsafe, or set sign_weight = 0");
    if (o->loss == DIFFERENCE && !dowel_x(in, DOWEL_MARGIN))
        return dowel_fail(err, DOWEL_E_ARG,
                          "loss = 'difference' fits the rows' margin, and they have none");
    for (uint32_t s = 0; s < in->n_seq; s++)
        if (in->role[s] == DOWEL_TRAINED && (in->mate[s] < 0 || (uint32_t)in->mate[s] >= in->n_seq))
            return dowel_fail(err, DOWEL_E_ARG,
                              "sequence %u has no other half; loss = '%s' compares pairs", s,
                              losses[o->loss]);
    return DOWEL_OK;
}

/* How many pairs, lists or ratings the step has. */
static dowel_status survey(void *self, const dowel_batch *in, double *sum, dowel_err *err)
{
    const struct opts *o = ((const struct self *)self)->o;
    uint32_t l;
    dowel_status st = check(o, in, err);
    if (st != DOWEL_OK)
        return st;
    if (of_lists(o))
        lists(o, in, NULL, sum);
    for (uint32_t s = 0; s < in->n_seq && !of_lists(o); s++)
        *sum += o->loss == RATING ? rated(in, s) : pair_at(in, s, &l);
    return DOWEL_OK;
}

static void report(const struct opts *o, const dowel_host *host, const struct sums *m)
{
    if (m->answers == 0)
        return;
    if (m->pairs > 0) {
        host->metric(host, "accuracy", DOWEL_MEAN, m->right / m->pairs, m->pairs);
        host->metric(host, "margin", DOWEL_MEAN, m->margin / m->pairs, m->pairs);
    }
    host->metric(host, "min_reward", DOWEL_MIN, m->least, 1);
    host->metric(host, "mean_reward", DOWEL_MEAN, m->total / m->answers, m->answers);
    host->metric(host, "max_reward", DOWEL_MAX, m->most, 1);
    if (m->signs > 0)
        host->metric(host, "sign_accuracy", DOWEL_MEAN, m->sign_right / m->signs, m->signs);
    if (o->loss == RATING)
        host->metric(host, "mean_absolute_error", DOWEL_MEAN, m->off / m->answers, m->answers);
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const struct opts *o = ((const struct self *)self)->o;
    struct sums m = {.least = INFINITY, .most = -INFINITY};
    double found = 0;
    uint32_t l;
    dowel_status st = check(o, in, err);
    if (st != DOWEL_OK)
        return st;
    if (in->n_seq > 0 && !dowel_x(in, DOWEL_SCORE))
        return dowel_fail(err, DOWEL_E_ARG, "the batch has no scores; the model needs a head");
    if (of_lists(o))
        *loss += lists(o, in, &m, &found);
    for (uint32_t s = 0; s < in->n_seq && !of_lists(o); s++) {
        if (o->loss == RATING && rated(in, s))
            *loss += rate(in, s, &m);
        else if (o->loss != RATING && pair_at(in, s, &l))
            *loss += pair(o, in, s, l, &m);
    }
    report(o, in->host, &m);
    return DOWEL_OK;
}

static const char *const shown[] = {"accuracy", "margin", NULL};
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_PAIRS | DOWEL_LISTS | DOWEL_TEXTS |
                                                      DOWEL_LABELS,
                                          .n_total = 1,
                                          .shown = shown,
                                          .observe = observe,
                                          .survey = survey,
                                          .loss = loss};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("reward", "1.0.0", "Reward and cost models from comparisons, lists and ratings.",
                 DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params), .create = create, .destroy = free, .objective = &objective};
DOWEL_MODULE(&plugin);
