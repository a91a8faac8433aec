/* The sequences of one task in one step (or one evaluation), with everything about them that is
 * not the model's: constants per token and per sequence. */
#ifndef DW_TRAIN_SET_H
#define DW_TRAIN_SET_H

#include "data/pack.h"
#include "train/task.h"

typedef struct dw_seq {
    const dw_row *row;
    const char *completion_text; /* of rollouts; in the arena */
    size_t completion_len;
    uint64_t id;
    double weight, label, target, margin;
    double rank;      /* in its list; NaN: none */
    double *reward;   /* [1 + n_reward] mixed total, then the parts; NULL without rewards */
    const char **why; /* [n_reward] or NULL */
    const unsigned char *mask; /* of its completion's tokens: 1 = trained on; NULL: all are */
    uint32_t tok;              /* first token in the arrays per token */
    int32_t mate, group;
    const int32_t *teacher_prompt; /* NULL: what the row says, else the prompt */
    uint32_t n_teacher_prompt;
    bool untaught;  /* there is nothing that a teacher could know more: its columns are NaN */
    uint32_t place; /* number of the row within the step, for messages */
    uint8_t stop, role;
    bool keep;
    bool joined; /* stays in one micro-batch with the sequence before it */
} dw_seq;

/* Arrays per token are in column order over all sequences; NULL where the task has no such column.
 * Memory lives in the arena given to the maker. */
typedef struct dw_set {
    dw_live_task *task;
    dw_arena *arena;
    dw_seq *seq;
    dw_packable *pack; /* [n_seq], parallel to seq */
    size_t n_seq, n_tok;
    size_t n_loss; /* sequences from here on are MISMATCHED: survey() alone sees them */
    uint8_t *mask;
    uint8_t *mark;      /* 1 where SCORE and CHOICES are read; NULL: nowhere */
    double *mark_label; /* of steps; NaN where there is no mark or no label */
    uint64_t given;     /* DOWEL_BIT()s of TARGET, MARGIN and RANK: what the data has */
    double *ref_logp, *old_logp, *sampler_logp, *teacher_logp, *advantage;
    double *token_reward;    /* [n_tok][1 + n_reward] total, then the parts; NaN: no span there */
    double *old_value, *ret; /* [n_tok][task->value_width] */
    uint32_t max_tok;
    double temperature;
    double step_seqs, step_toks; /* TRAINED and OTHER sequences with a counted token, and those
                                    tokens */
    double drift, drift_tokens;  /* of a rollout trained on again: sum over tokens of the estimate
                                    of KL(sampler | policy), and the tokens */
    uint64_t step;
    uint64_t input_tokens; /* prompts once per sharing group, and completions; before compaction */
} dw_set;

/* An array per token of a set. */
typedef struct dw_token_column {
    const char *name; /* in recorded rollouts: "logp", "ref_logp" */
    double **x;
    size_t width;
} dw_token_column;
enum { DW_N_TOKEN_COLUMN = 9 };
/* All of them, whether the set has them or not. */
void dw_set_columns(dw_set *s, dw_token_column out[DW_N_TOKEN_COLUMN]);

/* Room for n sequences. */
void dw_set_init(dw_set *s, dw_live_task *t, dw_arena *a, size_t n, uint64_t step);
/* Appends one; a sequence without a prompt gives its first token away as context. Not appended,
 * and false, when nothing is left to predict. */
bool dw_set_add(dw_set *s, const dw_seq *q, const int32_t *prompt, size_t n_prompt,
                const int32_t *completion, size_t n_completion);
/* After the last sequence: makes the mask out of the sequences' own, puts the marks and counts. */
void dw_set_seal(dw_set *s);
/* Throws out sequences with keep = false, renumbers mates and units, counts again. */
void dw_set_compact(dw_set *s);

/* One sequence of a sealed set. */
typedef struct dw_pick {
    dw_set *set;
    size_t seq;
} dw_pick;
/* A sealed set of the picked sequences, in that order, with everything known about them. Those of
 * one set and one group stay a group, mates that are both picked stay mates; at least one. */
void dw_set_pick(dw_set *out, dw_arena *a, const dw_pick *pick, size_t n);

/* Rows first .. first + n - 1 of a task's endless order (training), or of its evaluation data.
 * Where an objective asks for MISMATCHED sequences each row gets the answer of the next other row,
 * the last one that of the first. */
dw_status dw_set_from_rows(dw_set *s, dw_live_task *t, dw_arena *a, uint64_t first, size_t n,
                           uint64_t step, dw_err *err);
dw_status dw_set_from_eval(dw_set *s, dw_live_task *t, dw_arena *a, dw_err *err);
/* The packs with the prompts that a teacher reads, where rows bring them; else the set's own. In
 * the set's arena. */
const dw_packable *dw_set_teacher_packs(const dw_set *s);
/* NaN over the sequences without a teacher; x [n_tok] from sequence `first` on. */
void dw_set_untaught(const dw_set *s, size_t first, size_t n, double *x);
/* Row `n` of the task's order. */
const dw_row *dw_set_row(const dw_live_task *t, uint64_t n);

#endif
