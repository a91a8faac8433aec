/* dpo: direct preference optimisation on pairs of completions, in all the forms its loss has been
 * given. */
#include <dowel/plugin.h>
#include <stdlib.h>
#include <string.h>

#include "../pair_losses.h"
#include "../pairs_report.h"

enum {
    SIGMOID,
    CDPO,
    SOFT,
    ROBUST,
    HINGE,
    IPO,
    EXO_PAIR,
    NCA_PAIR,
    BCO_PAIR,
    SPPO_HARD,
    AOT,
    AOT_UNPAIRED,
    APO_ZERO,
    APO_DOWN,
    DISCOPOP,
    SIGMOID_NORM,
    N_LOSS,
};
static const char *const losses[] = {
    "sigmoid",  "cdpo",     "soft",     "robust",       "hinge", "ipo",
    "exo_pair", "nca_pair", "bco_pair", "sppo_hard",    "aot",   "aot_unpaired",
    "apo_zero", "apo_down", "discopop", "sigmoid_norm", NULL};
enum { REVERSE_KL, FORWARD_KL, JENSEN_SHANNON, ALPHA };
static const char *const divergences[] = {"reverse_kl", "forward_kl", "js_divergence",
                                          "alpha_divergence", NULL};
enum { TOKEN, SUM };
static const char *const normalizers[] = {"token", "sum", NULL};

#define BIT(loss) (1u << (loss))
#define SMOOTHED  (BIT(CDPO) | BIT(ROBUST) | BIT(EXO_PAIR) | BIT(AOT) | BIT(AOT_UNPAIRED))
#define SORTED    (BIT(AOT) | BIT(AOT_UNPAIRED))
/* losses of a difference of scores, which a divergence may change */
#define SCORED                                                                                     \
    (BIT(SIGMOID) | BIT(CDPO) | BIT(SOFT) | BIT(ROBUST) | BIT(HINGE) | BIT(IPO) | BIT(EXO_PAIR) |  \
     BIT(DISCOPOP) | BIT(SIGMOID_NORM))

struct opts {
    int64_t loss, normalize, divergence;
    double beta, label_smoothing, discopop_tau, divergence_alpha, ld_alpha, sft;
    const char *mix;
    bool wpo, reference_free;
};

static const dowel_param params[] = {
    DOWEL_OPT_CHOICE(struct opts, loss, "sigmoid", losses, 0, "Form of the loss."),
    DOWEL_OPT_JSON(
        struct opts, mix, "{}", 0,
        "Several forms with their weights, {sigmoid = 0.8, bco_pair = 0.2}; replaces loss."),
    DOWEL_OPT_REAL(struct opts, beta, "0.1", 1e-6, 100, DOWEL_TUNABLE,
                   "How strongly the policy is tied to the reference."),
    DOWEL_OPT_REAL(struct opts, label_smoothing, "0", 0, 0.5, 0,
                   "Share of pairs assumed to be labelled the wrong way round; cdpo, robust, "
                   "exo_pair, aot and aot_unpaired only."),
    DOWEL_OPT_CHOICE(struct opts, normalize, "token", normalizers, 0,
                     "ipo: log-ratios per token, or their sums."),
    DOWEL_OPT_REAL(struct opts, discopop_tau, "0.05", 1e-3, 1, 0,
                   "discopop: width of the change from logistic to exponential."),
    DOWEL_OPT_CHOICE(struct opts, divergence, "reverse_kl", divergences, 0,
                     "Divergence from the reference that the log-ratio is a score of."),
    DOWEL_OPT_REAL(struct opts, divergence_alpha, "0.5", 0, 1, 0,
                   "alpha_divergence: 1 is reverse, 0 forward KL (one minus the paper's alpha)."),
    DOWEL_OPT_REAL(struct opts, ld_alpha, "1", 0, 1, 0,
                   "Weight of the tokens behind the shorter answer's length; 1 is off."),
    DOWEL_OPT_BOOL(struct opts, wpo, "false", 0,
                   "Weight pairs by how likely the policy is to write them (WPO)."),
    DOWEL_OPT_REAL(struct opts, sft, "0", 0, 1000, DOWEL_TUNABLE,
                   "Weight of the wanted answers' mean negative log-likelihood."),
    DOWEL_OPT_BOOL(struct opts, reference_free, "false", 0,
                   "Take the reference to be uniform, so that no reference model is needed."),
};

/* ---- which forms, with which weights ---- */

struct forms {
    double weight[N_LOSS];
    uint32_t used; /* BIT()s */
};

static int form_named(const char *name, size_t n)
{
    for (int k = 0; losses[k]; k++)
        if (strlen(losses[k]) == n && !memcmp(losses[k], name, n))
            return k;
    return -1;
}

/* `mix` is canonical JSON: an object without white space; anything but numbers in it is refused. */
static dowel_status read_mix(const char *mix, struct forms *f, dowel_err *err)
{
    const char *s = mix + (*mix == '{');
    while (*s == '"') {
        const char *name = s + 1, *quote = strchr(name, '"');
        char *end = NULL;
        if (!quote || quote[1] != ':')
            break;
        int form = form_named(name, (size_t)(quote - name)), length = (int)(quote - name);
        double weight = strtod(quote + 2, &end);
        if (length == 3 && !memcmp(name, "sft", 3))
            return dowel_fail(err, DOWEL_E_ARG, "mix: 'sft' is an option of its own; set sft");
        if (form < 0)
            return dowel_fail(err, DOWEL_E_ARG, "mix: no loss '%.*s'", length, name);
        if (end == quote + 2 || !isfinite(weight) || weight < 0)
            return dowel_fail(err, DOWEL_E_ARG, "mix: the weight of %s must be a number from 0 on",
                              losses[form]);
        f->weight[form] = weight;
        f->used |= weight > 0 ? BIT(form) : 0;
        s = end + (*end == ',');
    }
    if (strcmp(s, "}") != 0)
        return dowel_fail(err, DOWEL_E_ARG,
                          "mix: expected losses with weights, {sigmoid = 0.8}, found %.80s", mix);
    return DOWEL_OK;
}

static dowel_status forms_of(const struct opts *o, struct forms *f, dowel_err *err)
{
    *f = (struct forms){.used = 0};
    if (!strcmp(o->mix, "{}") || !strcmp(o->mix, "[]")) { /* an empty Lua table is either */
        f->weight[o->loss] = 1;
        f->used = BIT(o->loss);
        return DOWEL_OK;
    }
    if (o->loss != SIGMOID)
        return dowel_fail(err, DOWEL_E_ARG, "loss = '%s' and mix exclude each other",
                          losses[o->loss]);
    dowel_status st = read_mix(o->mix, f, err);
    if (st == DOWEL_OK && !f->used)
        return dowel_fail(err, DOWEL_E_ARG, "mix: every weight is 0");
    return st;
}

/* Options that the chosen forms would ignore are refused. */
static dowel_status check(const struct opts *o, const struct forms *f, dowel_err *err)
{
    if (o->label_smoothing > 0 && !(f->used & SMOOTHED))
        return dowel_fail(err, DOWEL_E_ARG, "label_smoothing %g needs loss = 'cdpo'%s",
                          o->label_smoothing,
                          f->used == BIT(SIGMOID) ? "" : ", 'robust', 'exo_pair' or 'aot'");
    if ((f->used & BIT(EXO_PAIR)) && !(o->label_smoothing > 0))
        return dowel_fail(err, DOWEL_E_ARG,
                          "loss = 'exo_pair' needs label_smoothing above 0; 1e-3 is usual");
    if ((f->used & BIT(ROBUST)) && !(o->label_smoothing < 0.5))
        return dowel_fail(err, DOWEL_E_ARG, "loss = 'robust' needs label_smoothing below 0.5");
    for (int k = 0; o->divergence != REVERSE_KL && k < N_LOSS; k++)
        if (f->used & BIT(k) & ~SCORED)
            return dowel_fail(err, DOWEL_E_ARG, "divergence '%s' does not apply to loss '%s'",
                              divergences[o->divergence], losses[k]);
    if (o->wpo && (f->used & SORTED))
        return dowel_fail(err, DOWEL_E_ARG, "wpo weighs pairs, and aot takes them apart");
    if (o->normalize == SUM && !(f->used & BIT(IPO)))
        return dowel_fail(err, DOWEL_E_ARG, "normalize = 'sum' needs loss = 'ipo'");
    return DOWEL_OK;
}

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = self;
    struct forms f;
    dowel_status st = forms_of(o, &f, err);
    if (st == DOWEL_OK)
        st = check(o, &f, err);
    ask->columns = DOWEL_BIT(DOWEL_LOGP) | PAIR_SHOWN;
    ask->detached = PAIR_SHOWN;
    if (!o->reference_free)
        ask->columns |= DOWEL_BIT(DOWEL_REF_LOGP);
    if (o->wpo)
        ask->columns |= DOWEL_BIT(DOWEL_COLLISION) | DOWEL_BIT(DOWEL_HELD_LOGP);
    if (f.used & SORTED)
        ask->together = DOWEL_BY_STEP; /* the whole step is sorted */
    return st;
}

/* ---- one pair ---- */

/* The score of a log-ratio and its derivative. An exponent beyond 80 is cut off, and with it the
 * derivative. */
static struct curve score(const struct opts *o, double d)
{
    double c = o->divergence == FORWARD_KL ? -1 : o->divergence_alpha - 1;
    if (o->divergence == JENSEN_SHANNON)
        return (struct curve){log(2) - softplus(-d), sigmoid(-d)};
    if (o->divergence == REVERSE_KL || c == 0)
        return (struct curve){d, 1};
    if (c * d > 80)
        return (struct curve){expm1(80) / c, 0};
    return (struct curve){expm1(c * d) / c, exp(c * d)};
}

/* A loss of the difference of two quantities. */
static struct slope apart(struct curve f, double inner, double by_chosen, double by_rejected)
{
    return (struct slope){f.value, f.slope * inner * by_chosen, -f.slope * inner * by_rejected};
}

static struct slope scored(const struct opts *o, int64_t form, const struct pair *p, double target)
{
    struct curve c = score(o, p->chosen.ratio), r = score(o, p->rejected.ratio);
    bool sums = !(form == SIGMOID_NORM || (form == IPO && o->normalize == TOKEN));
    double nc = sums ? 1 : fmax(p->chosen.n, 1), nr = sums ? 1 : fmax(p->rejected.n, 1);
    double u = c.value / nc - r.value / nr, h = o->beta * u;
    double by_c = c.slope / nc, by_r = r.slope / nr, e = o->label_smoothing;
    switch (form) {
    case CDPO:
        return apart(logistic(h, e), o->beta, by_c, by_r);
    case SOFT:
        return apart(logistic(h, 1 - target), o->beta, by_c, by_r);
    case ROBUST:
        return apart(robust_logistic(h, e), o->beta, by_c, by_r);
    case HINGE:
        return apart(hinge(h, 1), o->beta, by_c, by_r);
    case IPO:
        return apart(squared(u - 1 / (2 * o->beta)), 1, by_c, by_r);
    case EXO_PAIR:
        return apart(exo(h, e), o->beta, by_c, by_r);
    case DISCOPOP:
        return apart(discopop(h, o->discopop_tau), o->beta, by_c, by_r);
    default:
        return apart(logistic(h, 0), o->beta, by_c, by_r);
    }
}

/* Losses that judge the two answers one by one. */
static struct slope sided(const struct opts *o, int64_t form, const struct pair *p)
{
    double b = o->beta, c = b * p->chosen.ratio, r = b * p->rejected.ratio;
    struct curve good = logit_curve(c), bad = logit_curve(r), apart = logit_curve(c - r);
    switch (form) {
    case NCA_PAIR:
        return (struct slope){softplus(-c) + softplus(c) / 2 + softplus(r) / 2,
                              b * (1.5 * sigmoid(c) - 1), b / 2 * sigmoid(r)};
    case BCO_PAIR:
        return (struct slope){softplus(-c) + softplus(r), -b * sigmoid(-c), b * sigmoid(r)};
    case SPPO_HARD: {
        double dc = p->chosen.ratio - 1 / (2 * b), dr = p->rejected.ratio + 1 / (2 * b);
        return (struct slope){dc * dc + dr * dr, 2 * dc, 2 * dr};
    }
    case APO_ZERO:
        return (struct slope){sigmoid(-c) + bad.value, -b * good.slope, b * bad.slope};
    default: /* APO_DOWN */
        return (struct slope){good.value + sigmoid(r - c), b * (good.slope - apart.slope),
                              b * apart.slope};
    }
}

/* ---- AOT: the whole step, sorted ---- */

struct ranked {
    double x;
    uint32_t of;
    uint64_t id; /* breaks ties, so that the order of the batch does not */
};

static int by_value(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->x != y->x)
        return x->x < y->x ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Paired: the policy's margins against the reference's. Unpaired: wanted log-ratios against
 * unwanted ones. The answer or pair at place k of the first list brings its row's weight. */
static double aot(const struct opts *o, const dowel_batch *in, const struct pair *list, uint32_t n,
                  bool paired, double weight)
{
    struct ranked *a = in->host->scratch(in->host, (n + 1) * sizeof *a);
    struct ranked *b = in->host->scratch(in->host, (n + 1) * sizeof *b);
    double *grad = dowel_grad(in, DOWEL_LOGP), loss = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct half *c = &list[i].chosen, *r = &list[i].rejected;
        a[i] = (struct ranked){paired ? c->logp - r->logp : c->ratio, i, in->id[c->seq]};
        b[i] = (struct ranked){paired ? c->logp - c->ratio - (r->logp - r->ratio) : r->ratio, i,
                               in->id[r->seq]};
    }
    qsort(a, n, sizeof *a, by_value);
    qsort(b, n, sizeof *b, by_value);
    for (uint32_t k = 0; k < n; k++) {
        const struct pair *p = &list[a[k].of], *q = paired ? p : &list[b[k].of];
        struct curve f = logistic(o->beta * (a[k].x - b[k].x), o->label_smoothing);
        double scale = weight * pair_scale(in, p), d = scale * o->beta * f.slope;
        half_add(in, p, &p->chosen, grad, d);
        half_add(in, q, &q->rejected, grad, -d);
        loss += scale * f.value;
    }
    return loss;
}

/* ---- the batch ---- */

/* exp of the answer's mean of l - log C2: how likely the policy is to write it; a constant. */
static double likely(const dowel_batch *in, const struct half *h)
{
    const double *logp = dowel_held(in), *collision = dowel_x(in, DOWEL_COLLISION);
    double sum = 0;
    for (uint32_t t = in->start[h->seq]; t < in->start[h->seq + 1]; t++)
        if (in->mask[t])
            sum += logp[t] - log(fmax(collision[t], 1e-300));
    return exp(fmin(sum / fmax(h->n, 1), 80));
}

static dowel_status prepare(const struct opts *o, const dowel_batch *in, struct pair *p,
                            dowel_err *err)
{
    const double *ref = o->reference_free ? NULL : dowel_x(in, DOWEL_REF_LOGP);
    p->tail = o->ld_alpha;
    if (!o->reference_free && !ref && in->n_tok > 0)
        return dowel_fail(err, DOWEL_E_ARG, "the batch has no reference log-probabilities");
    pair_sums(in, p, ref);
    p->chosen.reward = o->beta * p->chosen.ratio;
    p->rejected.reward = o->beta * p->rejected.ratio;
    return DOWEL_OK;
}

/* All the forms that look at one pair at a time. */
static double pair_loss(const struct opts *o, const struct forms *f, const dowel_batch *in,
                        const struct pair *p)
{
    const double *targets = dowel_x(in, DOWEL_TARGET);
    double target = targets && !isnan(targets[p->chosen.seq]) ? targets[p->chosen.seq] : 1;
    double wpo = o->wpo ? likely(in, &p->chosen) * likely(in, &p->rejected) : 1;
    double scale = wpo * pair_scale(in, p), loss = 0;
    for (int k = 0; k < N_LOSS; k++) {
        if (!(f->used & BIT(k) & ~SORTED))
            continue;
        struct slope s = SCORED & BIT(k) ? scored(o, k, p, target) : sided(o, k, p);
        loss += pair_spread(in, p, scale * f->weight[k], s);
    }
    return loss;
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const struct opts *o = self;
    struct forms f;
    struct pair *list;
    uint32_t n;
    dowel_status st = forms_of(o, &f, err);
    if (st == DOWEL_OK)
        st = pairs_find(in, &list, &n, err);
    if (st != DOWEL_OK)
        return st;
    if (n > 0 && (f.used & BIT(SOFT)) && !dowel_x(in, DOWEL_TARGET))
        return dowel_fail(err, DOWEL_E_ARG, "loss = 'soft' needs rows with a target");
    for (uint32_t i = 0; i < n; i++) {
        st = prepare(o, in, &list[i], err);
        if (st != DOWEL_OK)
            return st;
        *loss += pair_loss(o, &f, in, &list[i]);
        if (o->sft > 0)
            *loss += answer_nll(in, list[i].chosen.seq, o->sft, in->total[PAIR_CHOSEN_TOKENS]);
    }
    for (int k = AOT; k <= AOT_UNPAIRED; k++)
        if (f.used & BIT(k))
            *loss += aot(o, in, list, n, k == AOT, f.weight[k]);
    pairs_report(in, list, n);
    pairs_report_online(in, list, n, o->beta);
    return DOWEL_OK;
}

static const char *const shown[] = {"rewards/margins", "rewards/accuracies", NULL};
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_PAIRS | DOWEL_ROLLOUTS,
                                          .n_total = PAIR_TOTALS,
                                          .shown = shown,
                                          .observe = observe,
                                          .survey = pairs_survey,
                                          .loss = loss};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("dpo", "1.1.0", "Direct preference optimisation.", DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params), .objective = &objective};
DOWEL_MODULE(&plugin);
