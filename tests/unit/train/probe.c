/* An objective for tests: a smooth loss over whichever columns its options name.
 *
 * For every column x with a gradient that is asked for, (1 + column) * sum u (x^2 / 2 + 0.3 x) / N
 * over its counted rows, where u differs from row to row and from answer to answer; every constant
 * column k of tokens adds 0.1 * sum k * (first column) / N. `coupled` squares the sum, so that the
 * loss needs the whole step. Its survey adds up REF_LOGP and LOGP of MISMATCHED sequences. */
#include <dowel/plugin.h>
#include <math.h>

struct opts {
    int64_t columns, divergence, against, together, extras, value_width, score_width, detached;
    double beta, scale;
    const char *choices;
    bool coupled;
};

static const dowel_param params[] = {
    DOWEL_OPT_INT(struct opts, columns, "1", 0, 9e15, 0, "Bits of the columns."),
    DOWEL_OPT_INT(struct opts, detached, "0", 0, 127, 0, "Those without a gradient."),
    DOWEL_OPT_INT(struct opts, divergence, "0", 0, 3, 0, "Kind."),
    DOWEL_OPT_INT(struct opts, against, "0", 0, 1, 0, "Teacher or reference."),
    DOWEL_OPT_INT(struct opts, together, "0", 0, 2, 0, "By row, group or step."),
    DOWEL_OPT_INT(struct opts, extras, "0", 0, 15, 0, "Extra sequences."),
    DOWEL_OPT_INT(struct opts, value_width, "0", 0, 8, 0, "Heads of VALUE."),
    DOWEL_OPT_INT(struct opts, score_width, "0", 0, 8, 0, "Channels of SCORE."),
    DOWEL_OPT_REAL(struct opts, beta, "0.3", 0, 1, 0, "Of the divergence."),
    DOWEL_OPT_REAL(struct opts, scale, "1", -10, 10, 0, "Of the loss."),
    DOWEL_OPT_STR(struct opts, choices, "", 0,
                  "'yn': the tokens y and n; 'long': one that is two."),
    DOWEL_OPT_BOOL(struct opts, coupled, "false", 0, "Square the loss."),
};

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    static const char *const yn[] = {"y", "n", NULL}, *const ny[] = {"n", "q", NULL},
                             *const two[] = {"y", "no", NULL};
    const struct opts *o = self;
    (void)err;
    ask->columns = (uint64_t)o->columns;
    ask->detached = (uint64_t)o->detached;
    ask->divergence = (uint32_t)o->divergence;
    ask->against = (uint32_t)o->against;
    ask->together = (uint32_t)o->together;
    ask->extras = (uint32_t)o->extras;
    ask->value_width = (uint32_t)o->value_width;
    ask->score_width = (uint32_t)o->score_width;
    ask->beta = o->beta;
    if (o->choices[0])
        ask->choices = o->choices[0] == 'y' ? yn : o->choices[0] == 'n' ? ny : two;
    return DOWEL_OK;
}

static bool counts(const dowel_batch *in, uint32_t column, uint32_t row)
{
    bool by_mark = column == DOWEL_SCORE || column == DOWEL_CHOICES;
    return by_mark || in->mask[row];
}

/* Of a row: where it stands in its sequence, and in which one. */
static double place(const dowel_batch *in, uint32_t column, uint32_t row)
{
    bool by_mark = column == DOWEL_SCORE || column == DOWEL_CHOICES;
    const uint32_t *start = by_mark ? in->mark_start : in->start;
    uint32_t s = 0;
    while (start[s + 1] <= row)
        s++;
    return (1 + 0.1 * (row - start[s])) * (1 + 0.4 * (double)(in->id[s] % 3));
}

static double sum_column(const dowel_batch *in, uint32_t c, double n)
{
    const dowel_column *col = &in->col[c];
    double sum = 0;
    for (uint32_t r = 0; r < col->rows; r++)
        for (uint32_t k = 0; counts(in, c, r) && k < col->width; k++) {
            double x = col->x[r * col->width + k];
            sum += place(in, c, r) * (1 + c) * (1 + k) * (x * x / 2 + 0.3 * x) / n;
        }
    return sum;
}

static void add_grad(const dowel_batch *in, uint32_t c, double scale)
{
    const dowel_column *col = &in->col[c];
    for (uint32_t r = 0; r < col->rows; r++)
        for (uint32_t k = 0; counts(in, c, r) && k < col->width; k++)
            col->grad[r * col->width + k] +=
                scale * place(in, c, r) * (1 + c) * (1 + k) * (col->x[r * col->width + k] + 0.3);
}

/* Constants times the first column, which is then LOGP. */
static double sum_constants(const dowel_batch *in, double scale, double *grad)
{
    static const uint32_t of[] = {DOWEL_REF_LOGP, DOWEL_TEACHER_LOGP, DOWEL_OLD_LOGP,
                                  DOWEL_OLD_VALUE};
    const double *logp = dowel_x(in, DOWEL_LOGP);
    double sum = 0;
    for (uint32_t i = 0; logp && i < 4; i++) {
        const dowel_column *col = &in->col[of[i]];
        for (uint32_t r = 0; col->x && r < col->rows; r++) {
            if (!in->mask[r])
                continue;
            sum += 0.1 * col->x[r * col->width] * logp[r];
            if (grad)
                grad[r] += scale * 0.1 * col->x[r * col->width];
        }
    }
    return sum;
}

static dowel_status survey(void *self, const dowel_batch *in, double *sum, dowel_err *err)
{
    (void)self;
    (void)err;
    const double *logp = dowel_x(in, DOWEL_LOGP), *ref = dowel_x(in, DOWEL_REF_LOGP);
    for (uint32_t s = 0; s < in->n_seq; s++) {
        double x = logp ? dowel_seq_sum(in, s, logp, ref) : 0;
        if (in->role[s] == DOWEL_MISMATCHED && isfinite(x))
            sum[0] += x;
        if (in->role[s] != DOWEL_MISMATCHED && logp && isfinite(x))
            sum[1] += 1; /* may not be known yet */
    }
    return DOWEL_OK;
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const struct opts *o = self;
    double sum = 0, n = in->step_toks;
    (void)err;
    for (uint32_t c = 0; c <= DOWEL_CHOICES; c++)
        if (in->col[c].x)
            sum += sum_column(in, c, n);
    sum += sum_constants(in, 0, NULL) / n;
    double outer = o->coupled ? 2 * sum : 1;
    *loss += o->scale * (o->coupled ? sum * sum : sum);
    for (uint32_t c = 0; c <= DOWEL_CHOICES; c++)
        if (in->col[c].grad)
            add_grad(in, c, o->scale * outer / n);
    if (dowel_grad(in, DOWEL_LOGP))
        sum_constants(in, o->scale * outer / n, dowel_grad(in, DOWEL_LOGP));
    in->host->metric(in->host, "mismatched", DOWEL_MAX, in->total[0], 1);
    in->host->metric(in->host, "early", DOWEL_MAX, in->total[1], 1);
    return DOWEL_OK;
}

static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_TEXTS | DOWEL_PAIRS | DOWEL_LABELS |
                                                      DOWEL_ROLLOUTS | DOWEL_LISTS | DOWEL_STEPS,
                                          .n_total = 2,
                                          .observe = observe,
                                          .survey = survey,
                                          .loss = loss};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("org.example.probe", "1.0.0", "A loss over any columns.", DOWEL_PURE),
    DOWEL_OPTIONS(struct opts, params), .objective = &objective};
DOWEL_MODULE(&plugin);
