/* Cuts a rollout into the minibatches of its epochs. */
#include "train/held.h"

#include "base/rng.h"

void dw_held_clear(dw_held *h)
{
    dw_arena_finish(&h->arena);
    *h = (dw_held){0};
}

static uint32_t count_groups(const dw_set *s)
{
    int32_t most = -1;
    for (size_t i = 0; i < s->n_seq; i++)
        if (s->seq[i].group > most)
            most = s->seq[i].group;
    return (uint32_t)(most + 1);
}

void dw_held_begin(dw_held *h, const dw_live_task *t, uint64_t rows, uint64_t born)
{
    const dw_plan_rollout *r = t->plan->rollout;
    uint32_t groups = count_groups(&h->set);
    h->parts = r->minibatches < groups ? r->minibatches : groups ? groups : 1;
    h->of = r->epochs * h->parts;
    h->at = 0;
    h->rows = rows;
    h->born = born;
    h->live = true;
}

void dw_held_part(const dw_held *h, dw_arena *a, uint64_t step, dw_set *out)
{
    dw_set *s = (dw_set *)&h->set;
    uint32_t groups = count_groups(s), epoch = h->at / h->parts, part = h->at % h->parts;
    uint32_t *order = dw_arena_alloc(a, (groups + 1) * sizeof *order);
    uint64_t seed = s->task->seed ^ (h->born << 20);
    for (uint32_t i = 0; i < groups; i++)
        order[i] = i;
    for (uint32_t i = groups; i > 1; i--) {
        uint64_t k = dw_random_below(seed, DW_RNG_MINIBATCH, epoch, i, i);
        uint32_t was = order[i - 1];
        order[i - 1] = order[k];
        order[k] = was;
    }
    uint32_t first = (uint32_t)((uint64_t)groups * part / h->parts);
    uint32_t end = (uint32_t)((uint64_t)groups * (part + 1) / h->parts);
    dw_pick *pick = dw_arena_alloc(a, (s->n_seq + 1) * sizeof *pick);
    size_t n = 0;
    for (uint32_t g = first; g < end; g++)
        for (size_t i = 0; i < s->n_seq; i++)
            if (s->seq[i].group == (int32_t)order[g])
                pick[n++] = (dw_pick){s, i};
    dw_set_pick(out, a, pick, n);
    out->step = step;
    if (h->at > 0)
        out->input_tokens = 0; /* counted when they were sampled */
}
