/* Runs the stages of a program one after the other inside one folder.
 *
 * RUN/ holds stages.json (the program), index.json (each stage's address and folder), recipe/ (the
 * sources), a run folder NAME-ADDRESS per stage (train/run.h; twelve digits of its address), and
 * at the end `final`, a link to what the last stage trained. A stage whose folder holds a finished
 * run is not run again; an interrupted one goes on from its newest checkpoint. */
#ifndef DW_TRAIN_STAGES_H
#define DW_TRAIN_STAGES_H

#include "train/program.h"
#include "train/run.h"

/* cb: [n] callbacks of each stage. o->out: RUN, which is made, or continued when it holds stages.
 * o->stop_at counts the steps of one stage. Returns as dw_run does. */
dw_status dw_stages_run(const dw_program *p, const dw_callbacks *cb, const dw_run_options *o,
                        dw_err *err);
/* What dw_run_dry says of every stage whose models exist by now. */
dw_status dw_stages_dry(const dw_program *p, const dw_callbacks *cb, const dw_run_options *o,
                        dw_buf *out, dw_err *err);
/* Is RUN a folder of stages? */
bool dw_stages_is(const char *run);
/* What `dowel resume` goes on with: the folder above where RUN is one stage of several. */
const char *dw_stages_whole(dw_arena *a, const char *run);
/* `dowel show RUN` for one: every stage in turn. */
dw_status dw_stages_show(const char *run, dw_buf *out, dw_err *err);

#endif
