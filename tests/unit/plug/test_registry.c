/* Where plugins are found, which files are trusted, and that a refused file never runs. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "batch.h"
#include "plug/internal.h"

static char top[] = "/tmp/dowel-reg-XXXXXX";
static dw_arena arena;
static char *build_dir; /* where the good plugins are */

static char *at(const char *name)
{
    return dw_arena_printf(&arena, "%s/%s", top, name);
}

/* The example of an out-of-tree plugin is built for these tests, so that it is found nowhere else.
 */
static const char *built(const char *name)
{
    bool ours = !strcmp(name, "closing.so");
    return dw_arena_printf(&arena, "%s/%s%s", build_dir, ours ? "../tests/unit/plug/" : "", name);
}

static void folder(const char *name)
{
    assert_int_equal(mkdir(at(name), 0755), 0);
}

/* `pad` bytes behind the end make a copy that is another file to a hash. */
static char *copy(const char *plugin, const char *to, size_t pad)
{
    dw_err err;
    char *path = at(to);
    assert_int_equal(dw_copy_file(built(plugin), path, &err), 0);
    FILE *f = fopen(path, "ab");
    for (size_t i = 0; i < pad; i++)
        fputc(0, f);
    fclose(f);
    assert_int_equal(chmod(path, 0644), 0);
    return path;
}

static dw_registry *open_dirs(const char *a, const char *b)
{
    const char *dir[] = {a, b};
    dw_err err;
    dw_registry *r = NULL;
    if (dw_registry_create(dir, b ? 2 : 1, &r, &err) < 0)
        fail_msg("%s", err.text);
    return r;
}

static void expect_error(dw_registry *r, const char *name, const char *base, const char *want)
{
    dw_err err = {{0}};
    const dw_plugin_info *p = NULL;
    assert_int_equal(dw_registry_find(r, name, base, &p, &err), DW_E_PLUGIN);
    if (!strstr(err.text, want))
        fail_msg("got '%s', wanted '%s'", err.text, want);
}

static void test_order_and_ids(void **state)
{
    dw_err err;
    const dw_plugin_info *p, *q;
    (void)state;
    folder("odd");
    copy("closing.so", "odd/another_name.so", 1);
    char *odd = at("odd");
    unsetenv("DOWEL_PLUGIN_PATH");
    dw_registry *r = open_dirs(odd, NULL);
    /* the file's name is a hint only */
    assert_int_equal(dw_registry_find(r, "org.example.closing", NULL, &p, &err), 0);
    assert_string_equal(p->path, at("odd/another_name.so"));
    assert_int_equal(strlen(p->sha256), 64);
    /* by path, from the recipe's folder */
    assert_int_equal(dw_registry_find(r, "./odd/another_name.so", top, &q, &err), 0);
    assert_ptr_equal(p, q);
    expect_error(r, "org.example.clsing", NULL,
                 "no plugin 'org.example.clsing', did you mean 'org.example.closing'? (looked in ");
    expect_error(r, "../odd/none.so", odd, "/odd/none.so: No such file or directory");
    dw_registry_destroy(r);
    setenv("DOWEL_PLUGIN_PATH", build_dir, 1);
}

static void test_never_here(void **state)
{
    char here[4096];
    dw_err err;
    dw_registry *r;
    (void)state;
    folder("here");
    copy("closing.so", "here/closing.so", 2);
    assert_non_null(getcwd(here, sizeof here));
    unsetenv("DOWEL_PLUGIN_PATH");
    assert_int_equal(chdir(at("here")), 0);
    assert_int_equal(dw_registry_create(NULL, 0, &r, &err), 0);
    expect_error(r, "org.example.closing", NULL, "no plugin 'org.example.closing'");
    dw_registry_destroy(r);
    const char *const relative[] = {"here", ".", ""};
    for (int i = 0; i < 3; i++) {
        const char *dir[] = {relative[i]};
        assert_int_equal(dw_registry_create(dir, 1, &r, &err), DW_E_PLUGIN);
        assert_non_null(strstr(err.text, "must be given by an absolute path"));
    }
    const char *const path[] = {"plugins", ":/tmp", "/tmp:", "/a::/b"};
    for (int i = 0; i < 4; i++) {
        setenv("DOWEL_PLUGIN_PATH", path[i], 1);
        assert_int_equal(dw_registry_create(NULL, 0, &r, &err), DW_E_PLUGIN);
        assert_non_null(strstr(err.text, "is not an absolute path"));
    }
    setenv("DOWEL_PLUGIN_PATH", build_dir, 1);
    assert_int_equal(chdir(here), 0);
}

static void test_user_folder(void **state)
{
    dw_err err;
    const dw_plugin_info *p;
    dw_registry *r;
    (void)state;
    unsetenv("DOWEL_PLUGIN_PATH");
    folder("share");
    folder("share/dowel");
    folder("share/dowel/plugins");
    copy("closing.so", "share/dowel/plugins/closing.so", 3);
    setenv("XDG_DATA_HOME", at("share"), 1);
    assert_int_equal(dw_registry_create(NULL, 0, &r, &err), 0);
    assert_int_equal(dw_registry_find(r, "org.example.closing", NULL, &p, &err), 0);
    assert_string_equal(p->path, at("share/dowel/plugins/closing.so"));
    dw_registry_destroy(r);
    unsetenv("XDG_DATA_HOME");
    setenv("DOWEL_PLUGIN_PATH", build_dir, 1);
}

static void test_two_offers(void **state)
{
    (void)state;
    dw_err err;
    const dw_plugin_info *p;
    folder("one");
    folder("two");
    folder("three");
    copy("dpo.so", "one/dpo.so", 0);
    copy("dpo.so", "two/dpo.so", 4);
    copy("dpo.so", "three/dpo.so", 0);
    char *text = dw_arena_printf(&arena,
                                 "%s: offers the plugin 'dpo', which %s offers too; take one of "
                                 "them out of the search path",
                                 at("two/dpo.so"), at("one/dpo.so"));
    dw_registry *r = open_dirs(at("one"), at("two"));
    expect_error(r, "dpo", NULL, text);
    dw_registry_destroy(r);
    r = open_dirs(at("one"), at("two"));
    assert_int_equal(dw_registry_load_all(r, &err), DW_E_PLUGIN);
    assert_string_equal(err.text, text);
    dw_registry_destroy(r);
    r = open_dirs(at("one"), at("three")); /* byte for byte the same */
    assert_int_equal(dw_registry_find(r, "dpo", NULL, &p, &err), 0);
    assert_string_equal(p->path, at("one/dpo.so"));
    dw_registry_destroy(r);
}

/* One row: who looks, who owns it with which mode, and whether that is trusted. */
typedef struct trust_case {
    uid_t me;
    bool sudo;
    uid_t caller, owner;
    gid_t group;
    mode_t mode;
    bool good;
} trust_case;

static const trust_case trust[] = {
    {1000, false, 0, 1000, 1000, 0755, true},   /* mine */
    {1000, false, 0, 0, 0, 0755, true},         /* root's */
    {1000, false, 0, 1001, 1001, 0755, false},  /* somebody's */
    {0, false, 0, 0, 0, 0644, true},            /* root looks at root's */
    {0, false, 0, 4242, 4242, 0644, false},     /* root looks at a user's */
    {0, true, 4242, 4242, 4242, 0644, true},    /* ... who called sudo */
    {0, true, 4242, 4243, 4243, 0644, false},   /* ... and another's */
    {4242, true, 4243, 4243, 4243, 0644, true}, /* (an identity that never arises) */
    {4242, false, 0, 4242, 4242, 0646, false},  /* everybody may write */
    {4242, false, 0, 4242, 4242, 0666, false},
    {4242, false, 0, 4242, 4242, 0664, true},  /* a group of one's own may */
    {4242, false, 0, 4242, 4300, 0664, false}, /* another group may not */
    {4242, false, 0, 0, 4300, 0775, false},    /* nor of root's files */
    {4242, false, 0, 0, 0, 0775, true},
    {4242, false, 0, 4242, 4242, 01777, false}, /* a sticky folder is no better */
};

static void test_trust(void **state)
{
    dw_err err;
    (void)state;
    for (size_t i = 0; i < sizeof trust / sizeof *trust; i++) {
        const trust_case *t = &trust[i];
        dw_identity me = {.user = t->me, .has_sudo_uid = t->sudo, .sudo_uid = t->caller};
        struct stat st = {.st_uid = t->owner, .st_gid = t->group, .st_mode = S_IFREG | t->mode};
        dw_status s = dw_trust_stat(&me, &st, "file", "/x.so", &err);
        if ((s == DW_OK) != t->good)
            fail_msg("row %zu: %s", i, s < 0 ? err.text : "trusted");
    }
}

static void test_identity(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    setenv("SUDO_UID", "1234", 1);
    dw_identity me = dw_identity_now();
    assert_true(me.has_sudo_uid && me.sudo_uid == 1234 && !me.secure);
    const char *const nonsense[] = {"", "-1", "12x", " 5", "99999999999999999999"};
    for (int i = 0; i < 5; i++) {
        setenv("SUDO_UID", nonsense[i], 1);
        assert_false(dw_identity_now().has_sudo_uid);
    }
    unsetenv("SUDO_UID");
}

static void refused(const char *path, const dw_identity *me, const char *want)
{
    dw_err err = {{0}};
    int fd = -1;
    assert_int_equal(dw_trust_open(me, path, &fd, &err), DW_E_PLUGIN);
    assert_int_equal(fd, -1);
    if (!strstr(err.text, want))
        fail_msg("got '%s', wanted '%s'", err.text, want);
}

static void test_files(void **state)
{
    dw_identity me = dw_identity_now(), raised = me;
    dw_err err;
    int fd;
    (void)state;
    folder("open");
    folder("shut");
    copy("sft.so", "open/sft.so", 5);
    copy("sft.so", "shut/sft.so", 6);
    copy("sft.so", "shut/loose.so", 7);
    assert_int_equal(chmod(at("open"), 0777), 0);
    assert_int_equal(chmod(at("shut/loose.so"), 0666), 0);
    refused(at("open/sft.so"), &me, "everybody may write to the folder (mode 777)");
    refused(at("shut/loose.so"), &me, "everybody may write to the file (mode 666)");
    /* links: out of an open folder, into one, to a loose file, to nothing */
    assert_int_equal(symlink(at("shut/sft.so"), at("open/link.so")), 0);
    assert_int_equal(symlink(at("open/sft.so"), at("shut/link.so")), 0);
    assert_int_equal(symlink(at("shut/loose.so"), at("shut/loose_link.so")), 0);
    assert_int_equal(symlink("nowhere", at("shut/broken.so")), 0);
    assert_int_equal(symlink("sft.so", at("shut/good.so")), 0);
    assert_int_equal(mkfifo(at("shut/pipe.so"), 0600), 0);
    refused(at("open/link.so"), &me, "everybody may write to the folder");
    refused(at("shut/link.so"), &me, "everybody may write to the folder");
    refused(at("shut/loose_link.so"), &me, "everybody may write to the file");
    refused(at("shut/broken.so"), &me, "No such file");
    refused(at("shut/pipe.so"), &me, "not a regular file");
    refused(at("shut"), &me, "not a regular file");
    raised.secure = true;
    refused(at("shut/sft.so"), &raised, "set-uid");
    assert_int_equal(dw_trust_open(&me, at("shut/good.so"), &fd, &err), 0);
    close(fd);
    if (geteuid() == 0) {
        assert_int_equal(chown(at("shut/sft.so"), 4242, 4242), 0);
        refused(at("shut/sft.so"), &me, "belongs to user 4242, expected root or you");
        assert_int_equal(chown(at("shut/sft.so"), 0, 4242), 0);
        assert_int_equal(chmod(at("shut/sft.so"), 0664), 0);
        refused(at("shut/sft.so"), &me, "group 4242 may write");
    }
}

/* A loose folder among good ones costs a warning, not the run. */
static void test_scan_goes_on(void **state)
{
    dw_err err;
    const dw_plugin_info *p;
    (void)state;
    folder("mixed");
    FILE *f = fopen(at("mixed/aaa.so"), "w");
    fputs("no plugin\n", f);
    fclose(f);
    copy("closing.so", "mixed/zzz.so", 8);
    unsetenv("DOWEL_PLUGIN_PATH");
    dw_registry *r = open_dirs(at("mixed"), NULL);
    assert_int_equal(dw_registry_load_all(r, &err), 0);
    assert_int_equal(dw_registry_find(r, "org.example.closing", NULL, &p, &err), 0);
    /* the file that should hold it says why it does not */
    expect_error(r, "aaa", NULL, "mixed/aaa.so: not a shared object");
    dw_registry_destroy(r);
    setenv("DOWEL_PLUGIN_PATH", build_dir, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_ids), cmocka_unit_test(test_never_here),
        cmocka_unit_test(test_user_folder),   cmocka_unit_test(test_two_offers),
        cmocka_unit_test(test_trust),         cmocka_unit_test(test_identity),
        cmocka_unit_test(test_files),         cmocka_unit_test(test_scan_goes_on),
    };
    dw_err err;
    umask(022);
    if (!mkdtemp(top) || !getenv("DOWEL_PLUGIN_PATH"))
        return 2;
    build_dir = dw_arena_strdup(&arena, getenv("DOWEL_PLUGIN_PATH"));
    setenv("HOME", top, 1);
    unsetenv("XDG_DATA_HOME");
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    dw_remove_tree(top, &err);
    dw_arena_finish(&arena);
    return rc;
}
