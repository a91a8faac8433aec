/* Commands that run a model over rows: opening it, and the ids of a row. */
#ifndef DW_CLI_MODEL_ROWS_H
#define DW_CLI_MODEL_ROWS_H

#include "cli/rows.h"
#include "model/model.h"

typedef struct dw_cli_model {
    int64_t threads;     /* 0: all CPUs */
    const char *kernel;  /* NULL: auto */
    const char *storage; /* NULL: source */
    bool no_special, parse_special;
    dw_exec x;
    dw_model *m;      /* NULL until opened */
    dw_chat *chat;    /* of messages; NULL: see chat_why */
    char *chat_why;   /* why its template cannot be read, or NULL: it has none */
    dw_chat_out said; /* of dw_cli_row_messages */
} dw_cli_model;

/* A model folder or an adapter folder, for reading only; a missing tokenizer is no error. */
dw_status dw_cli_model_open(dw_cli_model *c, const char *dir, dw_err *err);
void dw_cli_model_close(dw_cli_model *c);

/* Appends the ids of a text; false with the row marked bad. `special`: with what the tokenizer's
 * post-processor adds, unless --no-special. */
bool dw_cli_row_encode(const dw_cli_model *c, dw_cli_row *row, const char *key, bool special,
                       dw_ids *out);
/* Appends the ids of a row's messages, see dw_cli_row_chat; c->said keeps text, ids and mask. */
bool dw_cli_row_messages(dw_cli_model *c, dw_cli_row *row, bool generation, dw_ids *out);
/* Marks the row bad unless it has 1 .. most ids, all in the model's vocabulary. */
bool dw_cli_row_check(const dw_cli_model *c, dw_cli_row *row, const dw_ids *ids, size_t most);
/* Puts "logps": nine significant digits, null first where `first_null`. */
void dw_cli_row_put_logps(dw_cli_row *row, const double *logp, size_t n, bool first_null);
void dw_cli_row_put_ids(dw_cli_row *row, const int32_t *id, size_t n);

#endif
