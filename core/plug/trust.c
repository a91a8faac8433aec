/* Which files may be loaded: owned by root or by the user, and writable by nobody else. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "plug/internal.h"

dw_identity dw_identity_now(void)
{
    dw_identity me = {.user = geteuid(), .secure = getauxval(AT_SECURE) != 0};
    const char *s = getenv("SUDO_UID");
    if (me.user == 0 && s && *s) {
        char *end;
        errno = 0;
        unsigned long uid = strtoul(s, &end, 10);
        if (*s >= '0' && *s <= '9' && !*end && !errno && uid < (uid_t)-1) {
            me.has_sudo_uid = true;
            me.sudo_uid = (uid_t)uid;
        }
    }
    return me;
}

/* A group that holds its owner alone, as Debian makes one for every user. */
static bool own_group(uid_t user, gid_t group)
{
    char text[2][4096];
    struct passwd pw, *p = NULL;
    struct group gr, *g = NULL;
    if (getpwuid_r(user, &pw, text[0], sizeof text[0], &p) || !p)
        return user == group;
    if (getgrgid_r(group, &gr, text[1], sizeof text[1], &g) || !g)
        return user == group;
    if (strcmp(p->pw_name, g->gr_name) != 0)
        return false;
    for (char **m = g->gr_mem; *m; m++)
        if (strcmp(*m, p->pw_name) != 0)
            return false;
    return true;
}

dw_status dw_trust_stat(const dw_identity *me, const struct stat *st, const char *what,
                        const char *path, dw_err *err)
{
    bool mine = st->st_uid == 0 || st->st_uid == me->user ||
                (me->has_sudo_uid && st->st_uid == me->sudo_uid);
    if (!mine)
        return dw_fail(err, DW_E_PLUGIN,
                       "%s: the %s belongs to user %u, expected root or you (user %u); copy it to "
                       "a folder of your own",
                       path, what, (unsigned)st->st_uid, (unsigned)me->user);
    if (st->st_mode & S_IWOTH)
        return dw_fail(err, DW_E_PLUGIN,
                       "%s: everybody may write to the %s (mode %03o), expected its owner alone; "
                       "chmod o-w it",
                       path, what, (unsigned)st->st_mode & 07777u);
    if ((st->st_mode & S_IWGRP) && !own_group(st->st_uid, st->st_gid))
        return dw_fail(err, DW_E_PLUGIN,
                       "%s: group %u may write to the %s (mode %03o), expected its owner alone; "
                       "chmod g-w it",
                       path, (unsigned)st->st_gid, what, (unsigned)st->st_mode & 07777u);
    return DW_OK;
}

static dw_status open_dir(const dw_identity *me, const char *path, int *fd, dw_err *err)
{
    struct stat st;
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0)
        return dw_fail(err, DW_E_PLUGIN, "%s: cannot open the folder: %s", path, strerror(errno));
    dw_status s = fstat(*fd, &st) ? dw_fail(err, DW_E_PLUGIN, "%s: %s", path, strerror(errno))
                                  : dw_trust_stat(me, &st, "folder", path, err);
    if (s < 0)
        close(*fd);
    return s;
}

/* The file through its already checked folder, so that neither can be exchanged in between. */
static dw_status open_inside(const dw_identity *me, int dir, const char *real, int *out,
                             dw_err *err)
{
    struct stat st;
    int fd = openat(dir, dw_path_base(real), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return dw_fail(err, DW_E_PLUGIN, "%s: %s", real, strerror(errno));
    dw_status s = DW_OK;
    if (fstat(fd, &st))
        s = dw_fail(err, DW_E_PLUGIN, "%s: %s", real, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        s = dw_fail(err, DW_E_PLUGIN, "%s: not a regular file; give the plugin's .so", real);
    else
        s = dw_trust_stat(me, &st, "file", real, err);
    if (s < 0)
        close(fd);
    else
        *out = fd;
    return s;
}

dw_status dw_trust_open(const dw_identity *me, const char *path, int *fd, dw_err *err)
{
    if (me->secure)
        return dw_fail(err, DW_E_PLUGIN,
                       "%s: a program that runs set-uid or with capabilities loads no plugins; "
                       "start dowel as an ordinary user",
                       path);
    char real[PATH_MAX];
    if (!realpath(path, real))
        return dw_fail(err, DW_E_PLUGIN, "%s: %s", path, strerror(errno));
    dw_arena a = {0};
    int dir = -1;
    /* The folder that names it, then, where that was a link, the folder that holds it. */
    dw_status s = open_dir(me, dw_path_dir(&a, path), &dir, err);
    if (s == DW_OK) {
        close(dir);
        s = open_dir(me, dw_path_dir(&a, real), &dir, err);
    }
    if (s == DW_OK) {
        s = open_inside(me, dir, real, fd, err);
        close(dir);
    }
    dw_arena_finish(&a);
    return s;
}
