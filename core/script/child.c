/* A trial in a child process: what no hook can stop, such as a pattern that backtracks for hours
 * inside one C call, ends at a limit on processor time. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "script/state.h"

typedef struct answer {
    int status;
    dw_err err;
} answer;

static dw_script *watched;
static int answer_fd = -1;
static const char *watched_recipe;

/* An empty pipe takes it whole, at once. */
_Static_assert(sizeof(answer) <= PIPE_BUF, "an answer is one write");

static void send_answer(const answer *a)
{
    if (write(answer_fd, a, sizeof *a) != (ssize_t)sizeof *a)
        _exit(-DW_E_BUG);
}

/* Text put together inside a signal handler, where printf may not be called. */
typedef struct safe_text {
    char *at, *end; /* `end` is kept for the zero */
} safe_text;

static void safe_puts(safe_text *t, const char *s)
{
    while (*s && t->at < t->end)
        *t->at++ = *s++;
    *t->at = 0;
}

static void safe_put_int(safe_text *t, int n)
{
    char digit[12];
    char *p = digit + sizeof digit - 1;
    *p = 0;
    do
        *--p = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    safe_puts(t, p);
}

static void send_time_out(const char *file, int line)
{
    static answer a;
    safe_text t = {a.err.text, a.err.text + sizeof a.err.text - 1};
    a.status = DW_E_RECIPE;
    safe_puts(&t, file);
    if (line > 0) {
        safe_puts(&t, ":");
        safe_put_int(&t, line);
    }
    safe_puts(&t, ": used more than ");
    safe_put_int(&t, DW_SCRIPT_SECONDS);
    safe_puts(&t, " s of processor time");
    send_answer(&a);
    _exit(0);
}

static void on_lost(int sig)
{
    send_time_out(watched_recipe, 0);
}

/* The interrupted call may be anywhere, but the process ends here and what is read (the chain of
 * calls) is written only where a call begins or ends; should it be torn, the line goes missing. */
static void on_time_out(int sig)
{
    int line = 0;
    signal(SIGSEGV, on_lost);
    signal(SIGBUS, on_lost);
    const char *file = watched && watched->L ? dw_state_where(watched->L, &line, NULL) : NULL;
    send_time_out(file ? file : watched_recipe, file ? line : 0);
}

void dw_child_watch(dw_script *s)
{
    watched = s;
}

static void run_child(dw_status (*trial)(void *ctx, dw_err *err), void *ctx)
{
    static answer a;
    struct rlimit cpu = {DW_SCRIPT_SECONDS, DW_SCRIPT_SECONDS + 1};
    struct sigaction sa = {.sa_handler = on_time_out};
    static const int inherited[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGINT, SIGTERM};
    for (size_t i = 0; i < sizeof inherited / sizeof *inherited; i++)
        signal(inherited[i], SIG_DFL); /* the parent's handlers would act on the parent's behalf */
    sigaction(SIGXCPU, &sa, NULL);
    setrlimit(RLIMIT_CPU, &cpu);
    a.status = trial(ctx, &a.err);
    send_answer(&a);
    /* Not exit(): the parent's buffers and handlers are not ours to run. */
    _exit(0);
}

dw_status dw_child_try(dw_status (*trial)(void *ctx, dw_err *err), void *ctx, const char *recipe,
                       dw_err *err)
{
    int fd[2];
    if (pipe(fd) < 0)
        return dw_fail(err, DW_E_LIMIT, "%s: no pipe to try it in: %s", recipe, strerror(errno));
    pid_t pid = fork();
    if (pid < 0) {
        int why = errno;
        close(fd[0]);
        close(fd[1]);
        return dw_fail(err, DW_E_LIMIT, "%s: no process to try it in: %s", recipe, strerror(why));
    }
    if (pid == 0) {
        close(fd[0]);
        answer_fd = fd[1];
        watched_recipe = recipe;
        run_child(trial, ctx);
    }
    close(fd[1]);
    answer a = {0};
    size_t got = 0;
    while (got < sizeof a) {
        ssize_t n = read(fd[0], (char *)&a + got, sizeof a - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    close(fd[0]);
    int how = 0;
    while (waitpid(pid, &how, 0) < 0 && errno == EINTR)
        ;
    if (got == sizeof a) {
        if (a.status < 0)
            *err = a.err;
        return (dw_status)a.status;
    }
    if (WIFSIGNALED(how) && (WTERMSIG(how) == SIGXCPU || WTERMSIG(how) == SIGKILL))
        return dw_fail(err, DW_E_RECIPE, "%s: used more than %d s of processor time", recipe,
                       DW_SCRIPT_SECONDS);
    /* dw_alloc, an assertion or a plugin's constructor ended it and has said why. */
    if (WIFEXITED(how) && WEXITSTATUS(how))
        return dw_fail(err, (dw_status)-WEXITSTATUS(how), "%s: planning ended early", recipe);
    return dw_fail(err, DW_E_PLUGIN, "%s: planning was ended by signal %d (%s)", recipe,
                   WIFSIGNALED(how) ? WTERMSIG(how) : 0,
                   WIFSIGNALED(how) ? strsignal(WTERMSIG(how)) : "none");
}
