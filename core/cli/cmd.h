/* The command table: one row per command; help follows from it. */
#ifndef DW_CLI_CMD_H
#define DW_CLI_CMD_H

#include "base/err.h"

/* argv[0] is the command's name. Errors go to err; main prints "dowel: ..." and exits with the
 * negated status. */
typedef dw_status (*dw_cmd_fn)(int argc, char **argv, dw_err *err);

dw_status dw_cmd_run(int argc, char **argv, dw_err *err);
dw_status dw_cmd_replay(int argc, char **argv, dw_err *err);
dw_status dw_cmd_resume(int argc, char **argv, dw_err *err);
dw_status dw_cmd_plan(int argc, char **argv, dw_err *err);
dw_status dw_cmd_show(int argc, char **argv, dw_err *err);
dw_status dw_cmd_inspect(int argc, char **argv, dw_err *err);
dw_status dw_cmd_generate(int argc, char **argv, dw_err *err);
dw_status dw_cmd_score(int argc, char **argv, dw_err *err);
dw_status dw_cmd_convert(int argc, char **argv, dw_err *err);
dw_status dw_cmd_merge(int argc, char **argv, dw_err *err);
dw_status dw_cmd_data(int argc, char **argv, dw_err *err);
dw_status dw_cmd_template(int argc, char **argv, dw_err *err);
dw_status dw_cmd_tokenize(int argc, char **argv, dw_err *err);
dw_status dw_cmd_selftest(int argc, char **argv, dw_err *err);
dw_status dw_cmd_check(int argc, char **argv, dw_err *err);
dw_status dw_cmd_plugins(int argc, char **argv, dw_err *err);

#endif
