/* Chat templates: messages to a prompt, as the model's own Jinja template writes it. Text that came
 * from the request (contents, tools, names of roles) never becomes a special token, whatever it
 * looks like; what the template itself writes does. */
#ifndef DW_TEXT_CHAT_H
#define DW_TEXT_CHAT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "text/tokenizer.h"

typedef struct dw_chat dw_chat; /* a compiled template over a tokenizer; immutable, any thread */

/* `name` is for messages. t may be NULL (text only) and must outlive the chat. config is the object
 * of tokenizer_config.json, or NULL: bos_token, eos_token and its other string tokens become
 * variables as in transformers. DW_E_INPUT with line and column of the template when it does not
 * parse or uses what is not supported. */
dw_status dw_chat_parse(dw_text tmpl, const char *name, const dw_tokenizer *t,
                        const dw_json *config, dw_chat **out, dw_err *err);
/* From a folder: chat_template.jinja, else "chat_template" in tokenizer_config.json (a string, or a
 * list of {name, template}: "default", and "tool_use" for requests with tools). *out is NULL, with
 * DW_OK, when there is none. */
dw_status dw_chat_load(const char *dir, const dw_tokenizer *t, dw_chat **out, dw_err *err);
/* From tokenizer_config.json's object alone; *out as above. */
dw_status dw_chat_of_config(const dw_json *config, const char *name, const dw_tokenizer *t,
                            dw_chat **out, dw_err *err);
void dw_chat_free(dw_chat *c); /* accepts NULL */
/* Does the template say itself, with {% generation %}, what the assistant wrote? */
bool dw_chat_has_generation(const dw_chat *c);

typedef struct dw_chat_request {
    const dw_json *messages;    /* array of objects */
    const dw_json *tools;       /* array, or NULL */
    const dw_json *documents;   /* array, or NULL */
    const dw_json *variables;   /* object, or NULL: over everything else of the same name */
    bool add_generation_prompt; /* open the assistant's next turn */
    bool continue_final;        /* leave the last message open: text after its content goes */
    bool parse_special;         /* as Hugging Face does it: special tokens in data become ids */
} dw_chat_request;

typedef struct dw_chat_out { /* zero-initialise; reusable; release with dw_chat_out_finish */
    dw_buf text;
    dw_ids ids;          /* empty without a tokenizer */
    unsigned char *mask; /* [ids.n] 1: the assistant said it; written by dw_chat_render_masked */
    size_t cap_mask;
} dw_chat_out;
void dw_chat_out_clear(dw_chat_out *out);
void dw_chat_out_finish(dw_chat_out *out);

/* Appends to out. DW_E_INPUT: the template refuses the messages (raise_exception), or cannot be
 * worked out for them; the message names line and column of the template. DW_E_LIMIT: it takes more
 * steps, depth, output or memory than a chat template needs. On failure out is as before. */
dw_status dw_chat_render(const dw_chat *c, const dw_chat_request *r, dw_chat_out *out, dw_err *err);
/* The same with the mask: from {% generation %} where the template has it, otherwise from rendering
 * prefixes of the conversation; refused when a prefix of the conversation is not a prefix of its
 * text. Needs a tokenizer. */
dw_status dw_chat_render_masked(const dw_chat *c, const dw_chat_request *r, dw_chat_out *out,
                                dw_err *err);
/* A prompt and what follows it. p gets the prompt with the generation prompt, rest what the text of
 * prompt and completion has beyond it. Where the template writes a finished turn otherwise than it
 * opens one (an empty thought, say), the prompt without generation prompt is the border; where that
 * is not a prefix either the conversation is refused. completion: an array of messages. */
dw_status dw_chat_split(const dw_chat *c, const dw_chat_request *prompt, const dw_json *completion,
                        dw_chat_out *p, dw_chat_out *rest, dw_err *err);

#endif
