/* The program: finds the command and turns its status into an exit code. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "cli/cmd.h"

typedef struct command {
    const char *name;
    dw_cmd_fn fn;
    const char *help;
} command;

static const command commands[] = {
    {"run", dw_cmd_run, "train what a recipe says"},
    {"resume", dw_cmd_resume, "continue a run from its newest checkpoint"},
    {"replay", dw_cmd_replay, "train on the recorded rollouts of another run"},
    {"show", dw_cmd_show, "a run's curves, samples, and what is left to do"},
    {"score", dw_cmd_score, "log-probabilities of tokens, one JSON row a line"},
    {"generate", dw_cmd_generate, "answers to prompts, from rows or on a terminal"},
    {"inspect", dw_cmd_inspect, "what a model folder holds, and the memory it takes"},
    {"plan", dw_cmd_plan, "a recipe as plain data, every default filled in"},
    {"tokenize", dw_cmd_tokenize, "text to ids, ids to text, one JSON row a line"},
    {"convert", dw_cmd_convert, "a model as a Hugging Face folder or a GGUF file"},
    {"merge", dw_cmd_merge, "an adapter and its base as one model"},
    {"data", dw_cmd_data, "what a file of rows is, and what is wrong with it (data check FILE)"},
    {"template", dw_cmd_template, "messages to text and ids through a chat template"},
    {"plugins", dw_cmd_plugins, "objectives, estimators and rewards, and their options"},
    {"selftest", dw_cmd_selftest, "printed results of every method, on this build"},
    {"check", dw_cmd_check, "what every plugin must satisfy, tried on one"},
    {NULL, NULL, NULL},
};

static void print_help(FILE *to)
{
    fputs("usage: dowel COMMAND [ARGUMENTS]\n\n", to);
    for (const command *c = commands; c->name; c++)
        fprintf(to, "  %-10s %s\n", c->name, c->help);
    fputs("\n`dowel COMMAND --help` lists a command's options.\n", to);
}

static int unknown(const char *name)
{
    const char *names[sizeof commands / sizeof *commands];
    size_t n = 0;
    for (const command *c = commands; c->name; c++)
        names[n++] = c->name;
    names[n] = NULL;
    const char *near = dw_nearest(name, names);
    fprintf(stderr, "dowel: no command '%s'%s%s%s (dowel --help lists them)\n", name,
            near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
    return -DW_E_USAGE;
}

/* One line whatever the names and keys in it hold: nor may they steer a terminal. */
static void report(const char *text)
{
    dw_buf line = {0};
    for (const char *c = text; *c; c++) {
        const unsigned char u = (unsigned char)*c;
        if (u == '\n')
            dw_buf_adds(&line, "\\n");
        else if ((u < 0x20 && u != '\t') || u == 0x7f)
            dw_buf_printf(&line, "\\x%02x", u);
        else
            dw_buf_addc(&line, *c);
    }
    fprintf(stderr, "dowel: %s\n", line.ptr);
    dw_buf_finish(&line);
}

/* Reports, and turns a status into an exit code; what was printed may still meet a full disk. */
static int finish(dw_status st, dw_err *err)
{
    if (st >= 0 && (fflush(stdout) || ferror(stdout)))
        st = dw_fail(err, DW_E_IO, "standard output: cannot be written");
    if (st < 0 && err->text[0])
        report(err->text);
    return -(int)st;
}

int main(int argc, char **argv)
{
    dw_err err = {{0}};
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ,
           SIG_IGN); /* a file too large is an error of its write, with a line that says so */
    if (argc < 2) {
        print_help(stderr);
        return -DW_E_USAGE;
    }
    char *asked[] = {argv[0], argc > 2 ? argv[2] : NULL, "--help", NULL};
    if (!strcmp(argv[1], "help") && argc > 2) { /* `help run` is `run --help` */
        argv = asked;
        argc = 3;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help") || !strcmp(argv[1], "-h")) {
        print_help(stdout);
        return finish(DW_OK, &err);
    }
    if (!strcmp(argv[1], "--version")) {
        puts("dowel " DOWEL_VERSION);
        return finish(DW_OK, &err);
    }
    for (const command *c = commands; c->name; c++) {
        if (strcmp(c->name, argv[1]) != 0)
            continue;
        return finish(c->fn(argc - 1, argv + 1, &err), &err);
    }
    return unknown(argv[1]);
}
