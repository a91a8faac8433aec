/* The chat template of a task's data, and what it asks of the model. */
#ifndef DW_TRAIN_TALK_H
#define DW_TRAIN_TALK_H

#include "train/task.h"

/* The template that rows of messages are written with: the recipe's, or the model's own; *out is
 * NULL where there is neither. To be freed after the data. */
dw_status dw_task_chat(const dw_live_task *t, const dw_data_spec *s, dw_chat **out, dw_err *err);
/* After the rows are read: refuses a model that does not stop where the template ends a turn, and
 * tells the model what to save. */
dw_status dw_task_check_talk(const dw_live_task *t, const dw_data_spec *s, const dw_dataset *d,
                             dw_err *err);
/* What the rows were found to be: "preference (implicit prompt), conversational, template FILE". */
void dw_task_talk_print(const dw_live_task *t, const dw_data_spec *s, const dw_dataset *d,
                        dw_buf *out);

#endif
