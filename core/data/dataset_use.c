/* What is asked of rows that were read: which comes next, which are in two sets, what was counted.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/rng.h"
#include "data/dataset_impl.h"
#include "data/seen.h"

size_t dw_dataset_len(const dw_dataset *d)
{
    return d->n;
}

const dw_row *dw_dataset_row(const dw_dataset *d, size_t i)
{
    dw_assert(i < d->n);
    return d->row[i];
}

/* The order of the sources by weight: dw_mixture_at wants the heaviest in front. */
static size_t heaviest(const dw_dataset *d)
{
    size_t best = 0;
    for (size_t i = 1; i < d->n_part; i++)
        if (d->share[i] > d->share[best])
            best = i;
    return best;
}

const dw_row *dw_dataset_at(const dw_dataset *d, uint64_t seed, bool shuffle, uint64_t place)
{
    size_t part = 0;
    if (d->n_part > 1) {
        const size_t top = heaviest(d);
        double share[DW_MIXTURE_MAX];
        memcpy(share, d->share, sizeof share);
        share[0] = d->share[top];
        share[top] = d->share[0];
        part = dw_mixture_at(seed, share, d->n_part, place, &place);
        part = part == top ? 0 : part == 0 ? top : part;
        seed = dw_random(seed, DW_RNG_SHUFFLE, UINT64_MAX, 1 + part);
    }
    const size_t len = d->first[part + 1] - d->first[part];
    const size_t i = shuffle ? dw_shuffle_at(seed, len, place) : (size_t)(place % len);
    return d->row[d->first[part] + i];
}

dw_text dw_dataset_bad_rows(const dw_dataset *d)
{
    return dw_buf_text(&d->bad_rows);
}

double dw_prompt_share(dw_text prompt)
{
    char hex[65];
    dw_sha256_of(prompt.ptr ? prompt.ptr : "", prompt.len, hex);
    hex[13] = 0; /* 52 bits */
    return (double)strtoull(hex, NULL, 16) / 4503599627370496.0;
}

/* ---- train and eval ---- */

static uint64_t prompt_hash(const dw_row *r)
{
    return dw_hash64(r->prompt_text.ptr, r->prompt_text.len);
}

void dw_dataset_overlap(const dw_dataset *train, dw_dataset *held, bool drop, dw_overlap *out)
{
    dw_seen rows = {0}, prompts = {0};
    dw_seen_place first;
    size_t kept = 0, end = 0;
    *out = (dw_overlap){0};
    for (size_t i = 0; i < train->n; i++) {
        const dw_row *r = train->row[i];
        dw_seen_add(&rows, r->hash, (dw_seen_place){r->file, r->line}, &first);
        if (r->n_prompt)
            dw_seen_add(&prompts, prompt_hash(r), (dw_seen_place){r->file, r->line}, &first);
    }
    for (size_t i = 0, part = 0; i < held->n; i++) {
        dw_row *r = held->row[i];
        while (i == held->first[part + 1])
            held->first[++part] = kept;
        const bool same = dw_seen_has(&rows, r->hash, &first);
        const bool asked = !same && r->n_prompt && dw_seen_has(&prompts, prompt_hash(r), &first);
        if ((same || asked) && !out->rows && !out->prompts)
            snprintf(out->at, sizeof out->at, "%s:%u and %s:%u", train->file[first.file],
                     first.line, held->file[r->file], r->line);
        out->rows += same;
        out->prompts += asked;
        if (!drop || (!same && !asked))
            held->row[kept++] = r;
        end = part;
    }
    for (size_t part = end + 1; part <= held->n_part; part++)
        held->first[part] = kept;
    held->n = kept;
    dw_seen_finish(&rows);
    dw_seen_finish(&prompts);
    dw_spill_rest((dw_spill *)&train->spill);
}

const dw_data_counts *dw_dataset_counts(const dw_dataset *d)
{
    return &d->counts;
}

const char *dw_dataset_file(const dw_dataset *d, uint32_t file)
{
    dw_assert(file < d->n_file);
    return d->file[file];
}

void dw_dataset_hash(const dw_dataset *d, char out[65])
{
    memcpy(out, d->hash, 65);
}

void dw_data_counts_print(const dw_data_counts *c, const char *name, dw_buf *out)
{
    const struct {
        uint64_t n;
        const char *what;
    } line[] = {
        {c->bad, "bad, skipped"},
        {c->left_out, "left out by map"},
        {c->set_aside, "set aside by holdout"},
        {c->too_long, "too long, dropped"},
        {c->cut, "too long, cut (prompts on the left, texts at the end)"},
        {c->empty_completion, "with an empty completion, dropped"},
        {c->identical_pair, "with chosen equal to rejected, dropped"},
        {c->tied_list, "with all completions of one rank, dropped"},
        {c->split_marker, "with the prompt inside, split at the marker"},
        {c->split_prefix, "with the prompt inside, split where both halves begin alike"},
        {c->weights, "with a weight of their own"},
        {c->targets, "with a target"},
        {c->margins, "with a margin"},
        {c->gold, "with a gold answer"},
        {c->teacher_prompts, "with a prompt for the teacher"},
        {c->talks, "of messages, written with the chat template"},
        {c->split_messages, "with the prompt inside, split behind the messages both halves share"},
    };
    for (size_t i = 0; i < sizeof line / sizeof *line; i++)
        if (line[i].n)
            dw_buf_printf(out, "%s: %llu row%s %s\n", name, (unsigned long long)line[i].n,
                          line[i].n == 1 ? "" : "s", line[i].what);
    if (c->duplicate)
        dw_buf_printf(out, "%s: %llu row%s repeating an earlier one, %s (%s)\n", name,
                      (unsigned long long)c->duplicate, c->duplicate == 1 ? "" : "s",
                      c->duplicates_dropped ? "dropped" : "kept", c->duplicate_at);
}
