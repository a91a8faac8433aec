/* The parts of a chat. Private to text/. */
#ifndef DW_TEXT_CHAT_IMPL_H
#define DW_TEXT_CHAT_IMPL_H

#include "base/arena.h"
#include "text/chat.h"
#include "text/jinja/jinja.h"

typedef struct dw_chat_special { /* bos_token and its like */
    const char *name;
    dw_text text;
} dw_chat_special;

struct dw_chat {
    dw_arena arena;
    dw_jinja *plain, *tools; /* tools: for requests with tools, or NULL */
    const dw_tokenizer *t;
    dw_chat_special *special;
    size_t n_special, cap_special;
};

/* What is rendered: the first `take` messages of the request's and then of `more`. */
typedef struct dw_chat_job {
    const dw_chat *c;
    const dw_chat_request *r;
    const dw_json *more;
    size_t take;
    bool generation_prompt;
} dw_chat_job;
size_t dw_chat_count(const dw_chat_request *r, const dw_json *more);
dw_status dw_chat_text(const dw_chat_job *job, dw_jinja_text *out, dw_err *err);
/* Appends the ids of a rendered text; bytes with DW_JMARK_LITERAL may become special tokens. */
dw_status dw_chat_encode(const dw_chat_job *job, dw_text text, const char *mark, dw_ids *out,
                         dw_err *err);
/* Special tokens of tokenizer_config.json or special_tokens_map.json; the first of a name stays. */
void dw_chat_specials(dw_chat *c, const dw_json *config);

#endif
