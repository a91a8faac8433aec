/* `dowel show RUN`: curves, samples, what is left. */
#include <stdio.h>

#include "base/buf.h"
#include "cli/args.h"
#include "cli/cmd.h"
#include "train/stages.h"

dw_status dw_cmd_show(int argc, char **argv, dw_err *err)
{
    const char *run = NULL;
    bool help = false;
    dw_buf out = {0};
    DW_TRY(dw_args_parse(argc, argv, "dowel show RUN", NULL, 0, &run, 1, 1, &help, err));
    if (help)
        return DW_OK;
    dw_status st = dw_stages_is(run) ? dw_stages_show(run, &out, err) : dw_run_show(run, &out, err);
    if (st >= 0)
        fwrite(out.ptr, 1, out.len, stdout);
    dw_buf_finish(&out);
    return st;
}
