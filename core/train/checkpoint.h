/* Trainer state on disk: RUN/checkpoint-N, complete or absent.
 *
 *   trained.safetensors    parameters that training moves, float32; of a model of "models" in
 *                          trained-NAME.safetensors
 *   optimizer.safetensors  the optimiser's arenas ("m.NAME", "v.NAME"); absent when it has none;
 *                          optimizer-NAME.safetensors
 *   follows-K.safetensors  a frozen copy that follows its model: its parameters, and the averages
 *                          of a BEMA ("ema.NAME")
 *   plugin-K.state         one blob per plugin instance with state, in plan order
 *   state.json             step, cursors, evaluation bookkeeping, sizes of the logs
 *   checkpoint.json        size and SHA-256 of every file above
 *
 * Writing goes through a stage, so a folder of that name is always whole; reading verifies every
 * hash before anything is used. */
#ifndef DW_TRAIN_CHECKPOINT_H
#define DW_TRAIN_CHECKPOINT_H

#include "train/task.h"

/* What a checkpoint holds beside the tensors and what the job itself knows. */
typedef struct dw_trainer_state {
    uint64_t step;
    uint32_t skipped_in_a_row;
    uint64_t n_tokens;
    uint64_t metrics_bytes, samples_bytes; /* lengths of the logs then */
    uint64_t seen_eval_step;               /* last step that was evaluated, plus 1; 0: none */
    bool stopped_early;
} dw_trainer_state;

dw_status dw_checkpoint_save(const dw_job *job, const dw_trainer_state *s, const char *dir,
                             dw_err *err);
/* Restores weights (dw_model_changed is called), optimisers, copies, cursors, bookkeeping and
 * plugin states. A file that is missing, has another size or another hash is DW_E_INPUT and named.
 */
dw_status dw_checkpoint_restore(dw_job *job, const char *dir, dw_trainer_state *s, dw_err *err);
/* The newest "checkpoint-N" of a run; *step of it. DW_E_INPUT when there is none. */
dw_status dw_checkpoint_newest(dw_arena *a, const char *run, const char **dir, uint64_t *step,
                               dw_err *err);
/* Removes all but the newest `keep` (at least 1). */
dw_status dw_checkpoint_prune(const char *run, uint32_t keep, dw_err *err);

#endif
