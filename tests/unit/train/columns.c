/* An objective for tests: it writes down what it is shown and pulls every token up alike. */
#include <dowel/plugin.h>
#include <inttypes.h>

struct opts {
    const char *file;
    bool mismatched, fields;
};

static const dowel_param params[] = {
    DOWEL_OPT_STR(struct opts, file, "", 0, "Where to write; nothing: nowhere."),
    DOWEL_OPT_BOOL(struct opts, mismatched, "false", 0, "Ask for mismatched sequences."),
    DOWEL_OPT_BOOL(struct opts, fields, "false", 0, "Ask for the fields n and deep.er."),
};

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    static const char *const fields[] = {"n", "deep.er", NULL};
    (void)err;
    const struct opts *o = self;
    ask->columns = DOWEL_BIT(DOWEL_LOGP);
    ask->extras = o->mismatched ? DOWEL_WITH_MISMATCHED : 0;
    ask->fields = o->fields ? fields : NULL;
    return DOWEL_OK;
}

static void number(FILE *f, const dowel_batch *in, const char *name, uint32_t column, uint32_t row)
{
    const dowel_column *c = &in->col[column];
    if (!c->x)
        return;
    fprintf(f, " %s", name);
    for (uint32_t k = 0; k < c->width; k++)
        fprintf(f, "%s%g", k ? "," : "", c->x[row * c->width + k]);
}

static void write_down(const struct opts *o, const char *what, const dowel_batch *in)
{
    FILE *f = o->file[0] ? fopen(o->file, "a") : NULL;
    if (!f)
        return;
    fprintf(f, "%s seqs %g toks %g\n", what, in->step_seqs, in->step_toks);
    for (uint32_t s = 0; s < in->n_seq; s++) {
        fprintf(f, "role %d id %" PRIu64 " group %d mate %d n %u", in->role[s], in->id[s],
                in->group[s], in->mate[s], in->start[s + 1] - in->start[s]);
        number(f, in, "w", DOWEL_WEIGHT, s);
        number(f, in, "l", DOWEL_LABEL, s);
        number(f, in, "t", DOWEL_TARGET, s);
        number(f, in, "m", DOWEL_MARGIN, s);
        number(f, in, "r", DOWEL_RANK, s);
        number(f, in, "f", DOWEL_FIELD, s);
        uint32_t mark = in->mark_start[s];
        for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++)
            if (in->mark[t]) {
                fprintf(f, " @%u", t - in->start[s]);
                number(f, in, "=", DOWEL_MARK_LABEL, mark++);
            }
        fprintf(f, "%s\n", mark == in->mark_start[s + 1] ? "" : " MARKS LOST");
    }
    fclose(f);
}

static dowel_status survey(void *self, const dowel_batch *in, double *sum, dowel_err *err)
{
    (void)err;
    sum[0] += in->n_seq;
    write_down(self, "survey", in);
    return DOWEL_OK;
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    (void)err;
    const double *logp = dowel_x(in, DOWEL_LOGP), *weight = dowel_x(in, DOWEL_WEIGHT);
    write_down(self, "loss", in);
    for (uint32_t s = 0; s < in->n_seq; s++) {
        double w = -(weight[s] + in->role[s]) / in->step_toks; /* gold counts otherwise */
        *loss += w * dowel_seq_sum(in, s, logp, NULL);
        dowel_seq_add(in, s, dowel_grad(in, DOWEL_LOGP), w);
    }
    return DOWEL_OK;
}

static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_TEXTS | DOWEL_PAIRS | DOWEL_LABELS |
                                                      DOWEL_STEPS | DOWEL_LISTS,
                                          .n_total = 1,
                                          .observe = observe,
                                          .survey = survey,
                                          .loss = loss};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("org.example.columns", "1.0.0", "Writes down what it sees.", DOWEL_PURE),
    DOWEL_OPTIONS(struct opts, params), .objective = &objective};
DOWEL_MODULE(&plugin);
