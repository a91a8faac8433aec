/* What a recipe can reach: a frozen list of names, and the known ways out, closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "script/script.h"

static char folder[] = "/tmp/dowel-sandbox-XXXXXX";

/* Runs `body` as a recipe; gives the message that ended it. */
static void run(const char *body, char out[2048])
{
    char path[128];
    dw_err err = {{0}};
    dw_script *s;
    dw_program *p;
    snprintf(path, sizeof path, "%s/r.lua", folder);
    assert_int_equal(dw_file_write(path, body, strlen(body), &err), 0);
    dw_script_options o = {.recipe = path};
    assert_true(dw_script_plan(&o, NULL, &s, &p, &err) < 0);
    snprintf(out, 2048, "%s", err.text);
}

/* The message after "FOLDER/r.lua:LINE: ". */
static void ends(const char *body, const char *wanted)
{
    char text[2048];
    run(body, text);
    const char *at = strstr(text, "r.lua:");
    at = at ? strstr(at, ": ") : NULL;
    if (!at || strcmp(at + 2, wanted) != 0)
        print_message("%s\n  wanted %s\n  got %s\n", body, wanted, text), fail();
}

static int make_folder(void **state)
{
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    dw_err err;
    return dw_remove_tree(folder, &err) < 0 ? -1 : 0;
}

static const char names_of_all[] =
    "_G _VERSION assert coroutine coroutine.close coroutine.create coroutine.isyieldable "
    "coroutine.resume coroutine.running coroutine.status coroutine.wrap coroutine.yield error "
    "getmetatable ipairs load math math.abs math.acos math.asin math.atan math.ceil math.cos "
    "math.deg math.exp math.floor math.fmod math.huge math.log math.max math.maxinteger math.min "
    "math.mininteger math.modf math.pi math.rad math.random math.randomseed math.sin math.sqrt "
    "math.tan math.tointeger math.type math.ult next pairs pcall print rawequal rawget rawlen "
    "rawset require select setmetatable string string.byte string.char string.find string.format "
    "string.gmatch string.gsub string.len string.lower string.match string.pack string.packsize "
    "string.rep string.reverse string.sub string.unpack string.upper table table.concat "
    "table.insert table.move table.pack table.remove table.sort table.unpack tonumber tostring "
    "type utf8 utf8.char utf8.charpattern utf8.codepoint utf8.codes utf8.len utf8.offset xpcall";

static void test_every_name(void **state)
{
    ends("local names = {}\n"
         "for k, v in pairs(_G) do\n"
         "  names[#names + 1] = k\n"
         "  if type(v) == 'table' and v ~= _G then\n"
         "    for m in pairs(v) do names[#names + 1] = k .. '.' .. m end\n"
         "  end\n"
         "end\n"
         "error(table.concat(names, ' '), 0)",
         names_of_all);
}

static void test_escapes(void **state)
{
    static const char *const nil[] = {"os",
                                      "io",
                                      "debug",
                                      "package",
                                      "dofile",
                                      "loadfile",
                                      "warn",
                                      "collectgarbage",
                                      "string.dump",
                                      "_ENV.os",
                                      "load('return os')()",
                                      "getmetatable('').__index",
                                      "require('dowel').host",
                                      "load('\\27Lua')",
                                      "load(function() return nil end, 'x', 'b')",
                                      "load('return debug', 'x', 'bt')()",
                                      "(select(2, pcall(string.dump, print))).x"};
    for (size_t i = 0; i < sizeof nil / sizeof *nil; i++) {
        char body[512], text[2048];
        snprintf(body, sizeof body,
                 "local ok, v = pcall(function() return %s end)\n"
                 "error('got ' .. tostring(ok and v or nil), 0)",
                 nil[i]);
        run(body, text);
        /* load(nil chunk) gives an empty function, which is no way out */
        if (!strstr(text, "got nil") && !strstr(text, "got function"))
            fail_msg("%s: %s", nil[i], text);
    }
}

static void test_refused(void **state)
{
    ends("setmetatable({}, { __gc = print })", "a recipe may not set '__gc'");
    ends("require 'os'", "no module 'os' (looked for os.lua in the recipe's folder)");
    ends("require '..passwd'", "'..passwd' is not a module's name (words joined by dots)");
    ends("require 'a/b'", "'a/b' is not a module's name (words joined by dots)");
    ends("require 'dowel.node'",
         "no module 'dowel.node' (looked for dowel/node.lua in the recipe's folder)");
    ends("error(tostring(getmetatable('')), 0)", "false");
    ends("setmetatable('', {})", "bad argument #1 to 'setmetatable' (table expected, got string)");
    ends("local t = setmetatable({}, { __metatable = 1 })\nsetmetatable(t, {})",
         "cannot change a protected metatable");
}

/* A finalizer that is added after setmetatable is never registered. */
static void test_late_gc(void **state)
{
    ends("local mt = {}\n"
         "for i = 1, 100 do setmetatable({}, mt) end\n"
         "mt.__gc = function() while true do end end\n"
         "local t = {}\n"
         "for i = 1, 1e5 do t[i % 10] = { i } end\n"
         "error('alive', 0)",
         "alive");
}

static void test_order_and_randomness(void **state)
{
    ends("local t, out = { b = 1, a = 2, [3] = 1, [1] = 1, [true] = 1, [2.5] = 1, c = 1 }, {}\n"
         "for k in pairs(t) do out[#out + 1] = tostring(k) end\n"
         "error(table.concat(out, ' '), 0)",
         "1 2.5 3 a b c true");
    ends("local t = { a = 1, b = 2, c = 3 }\n"
         "for k in pairs(t) do t[k] = nil end\n"
         "error(tostring(next(t)), 0)",
         "nil");
    char one[2048], two[2048];
    const char *body = "local out = {}\n"
                       "for i = 1, 8 do out[i] = math.random(1000000) end\n"
                       "out[9] = math.random()\n"
                       "error(table.concat(out, ' '), 0)";
    run(body, one);
    run(body, two);
    assert_string_equal(one, two);
    ends("for i = 1, 1000 do\n"
         "  local x, y = math.random(-3, 3), math.random()\n"
         "  assert(x >= -3 and x <= 3 and y >= 0 and y < 1)\n"
         "end\n"
         "math.random(2, 1)",
         "bad argument #2 to 'random' (interval is empty)");
}

/* No hook sees these; the child's limit on processor time does. */
static void test_time(void **state)
{
    char text[2048];
    run("local function f() return xpcall(f, f) end\nwhile true do f() end", text);
    assert_non_null(strstr(text, "used more than 2 s of processor time"));
    run("local x = (('a'):rep(40)):find(('a-'):rep(20) .. 'b')", text);
    assert_non_null(strstr(text, "r.lua:1: used more than 2 s of processor time"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_name),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_late_gc),
        cmocka_unit_test(test_order_and_randomness),
        cmocka_unit_test(test_time),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
