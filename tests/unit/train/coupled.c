/* An objective for tests: its loss couples the whole step, needs a survey, and has state.
 *
 * With m = mean log-probability over the step's tokens: loss = c * m^2, where c = 1 + share of
 * wanted tokens (surveyed) + 0.1 * (steps so far). */
#include <dowel/plugin.h>
#include <stdlib.h>

struct opts {
    bool by_step;
};

struct self {
    const struct opts *o;
    double steps, tokens;
};

static const dowel_param params[] = {
    DOWEL_OPT_BOOL(struct opts, by_step, "true", 0, "See the whole step at once."),
};

static dowel_status create(const dowel_host *host, const void *config, void **self, dowel_err *err)
{
    (void)host;
    struct self *s = calloc(1, sizeof *s);
    if (!s)
        return dowel_fail(err, DOWEL_E_NOMEM, "no memory");
    s->o = config;
    *self = s;
    return DOWEL_OK;
}

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    (void)err;
    const struct self *s = self;
    ask->columns = DOWEL_BIT(DOWEL_LOGP);
    ask->together = s->o->by_step ? DOWEL_BY_STEP : DOWEL_BY_ROW;
    return DOWEL_OK;
}

static dowel_status survey(void *self, const dowel_batch *in, double *sum, dowel_err *err)
{
    (void)self;
    (void)err;
    const double *label = dowel_x(in, DOWEL_LABEL);
    for (uint32_t s = 0; s < in->n_seq; s++)
        if (label[s] > 0)
            sum[0] += dowel_seq_len(in, s);
    return DOWEL_OK;
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    (void)err;
    const struct self *s = self;
    const double *logp = dowel_x(in, DOWEL_LOGP);
    double mean = 0, c = 1 + in->total[0] / in->step_toks + 0.1 * s->steps;
    for (uint32_t q = 0; q < in->n_seq; q++)
        mean += dowel_seq_sum(in, q, logp, NULL) / in->step_toks;
    *loss += c * mean * mean;
    for (uint32_t q = 0; q < in->n_seq; q++) {
        dowel_seq_add(in, q, dowel_grad(in, DOWEL_LOGP), 2 * c * mean / in->step_toks);
        in->tally[0] += dowel_seq_len(in, q);
    }
    return DOWEL_OK;
}

static dowel_status step_end(void *self, uint64_t step, const double *tally, dowel_err *err)
{
    (void)step;
    (void)err;
    struct self *s = self;
    s->steps += 1;
    s->tokens += tally[0];
    return DOWEL_OK;
}

static dowel_status save(void *self, dowel_sink *to, dowel_err *err)
{
    (void)err;
    const struct self *s = self;
    dowel_status st = to->write(to, &s->steps, sizeof s->steps);
    return st < 0 ? st : to->write(to, &s->tokens, sizeof s->tokens);
}

static dowel_status load(void *self, dowel_source *from, uint32_t version, dowel_err *err)
{
    (void)version;
    (void)err;
    struct self *s = self;
    dowel_status st = from->read(from, &s->steps, sizeof s->steps);
    return st < 0 ? st : from->read(from, &s->tokens, sizeof s->tokens);
}

static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_TEXTS | DOWEL_PAIRS,
                                          .n_total = 1,
                                          .n_tally = 1,
                                          .observe = observe,
                                          .survey = survey,
                                          .loss = loss,
                                          .step_end = step_end};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("org.example.coupled", "1.0.0", "Couples a whole step.", 0),
    DOWEL_OPTIONS(struct opts, params),
    .state_version = 1,
    .create = create,
    .destroy = free,
    .save = save,
    .load = load,
    .objective = &objective};
DOWEL_MODULE(&plugin);
