"""IORA_ASYNC and iora_go refuse what is wrong, at default warnings, and take what is right."""

import re

import pytest

from conftest import ROOT, STRICT

DECLARATIONS = """\
#include <iora.h>

struct point { int x, y; };
struct other { int x, y; };

static int add(int number, const char *text) { return number + (text != 0); }
IORA_ASYNC(add, int, const char *);

static int take_none(void) { return 0; }
IORA_ASYNC(take_none);

static int take_struct(struct point point) { return point.x; }
IORA_ASYNC(take_struct, struct point);

static int take_out(int **out) { return out != 0; }
IORA_ASYNC(take_out, int **);

static int take_writable(char *text) { return text != 0; }
IORA_ASYNC(take_writable, char *);

static int apply(int (*function)(int), int number) { return function(number); }
IORA_ASYNC(apply, __typeof__(int (*)(int)), int);

static int never_declared(int number) { return number; }
"""

# What is wrong: a function body in which a spawn goes wrong, and what the error says of it, as
# gcc or clang put it.
WRONG_CALLS = {
    "a number for a pointer": (
        "iora_go(add, 1, 2);",
        r"passing argument 2 of .add__is_not_IORA_ASYNC. makes pointer from integer"
        r"|incompatible integer to pointer conversion passing 'int'"),
    "a pointer for a number": (
        'iora_go(add, "one", "two");',
        r"passing argument 1 of .add__is_not_IORA_ASYNC. makes integer from pointer"
        r"|incompatible pointer to integer conversion passing 'char\[4\]'"),
    "a pointer to another type": (
        "int *out = 0; iora_go(take_out, out);",
        r"passing argument 1 of .take_out__is_not_IORA_ASYNC. from incompatible pointer type"
        r"|incompatible pointer types passing 'int \*'"),
    "a pointer to const": (
        "const char *text = 0; iora_go(take_writable, text);",
        r"passing argument 1 of .take_writable__is_not_IORA_ASYNC. discards .const. qualifier"
        r"|passing 'const char \*' to parameter of type .* discards qualifiers"),
    "another struct": (
        "struct other other = {1, 2}; iora_go(take_struct, other);",
        r"incompatible type for argument 1 of .take_struct__is_not_IORA_ASYNC."
        r"|passing 'struct other' to parameter of incompatible type"),
    "another kind of function": (
        "int (*function)(const char *) = 0; iora_go(apply, function, 1);",
        r"passing argument 1 of .apply__is_not_IORA_ASYNC. from incompatible pointer type"
        r"|incompatible function pointer types passing"),
    "too few arguments": (
        "iora_go(add, 1);", r"too few arguments to function"),
    "no arguments": (
        "iora_go(add);", r"too few arguments to function"),
    "too many arguments": (
        'iora_go(add, 1, "two", 3);', r"too many arguments to function"),
    "an argument for a function of none": (
        "iora_go(take_none, 1);", r"too many arguments to function"),
    "a function that was not declared async": (
        "iora_go(never_declared, 1);",
        r"implicit declaration of function .never_declared__is_not_IORA_ASYNC."
        r"|call to undeclared function 'never_declared__is_not_IORA_ASYNC'"),
    "no function at all": (
        "iora_go(no_such_function, 1);",
        r"implicit declaration of function .no_such_function__is_not_IORA_ASYNC."
        r"|call to undeclared function 'no_such_function__is_not_IORA_ASYNC'"),
    "a wrong type for an eager task": (
        "iora_go_eager(add, 1, 2);", r"add__is_not_IORA_ASYNC|incompatible integer to pointer"),
    "a wrong type for a member of a group": (
        "int rc; IORA_GROUP(rc, group) iora_group_go(&group, add, 1, 2);",
        r"add__is_not_IORA_ASYNC|incompatible integer to pointer"),
    "a wrong type for a generator": (
        "int x, rc; iora_for_each(rc, add, &x, 2) continue;",
        r"add__is_not_IORA_ASYNC|incompatible integer to pointer"),
    "a wrong type for the main task": (
        "iora_run(add, 1, 2);", r"add__is_not_IORA_ASYNC|incompatible integer to pointer"),
}

PROTOTYPE_DIFFERS = r"the types are not those of f\\?'s prototype"

# The same for a declaration.
WRONG_DECLARATIONS = {
    "another type": ("int f(int); IORA_ASYNC(f, long);", PROTOTYPE_DIFFERS),
    "another sign": ("int f(int); IORA_ASYNC(f, unsigned);", PROTOTYPE_DIFFERS),
    "without the const": ("int f(const int *); IORA_ASYNC(f, int *);", PROTOTYPE_DIFFERS),
    "one type too few": ("int f(int, int); IORA_ASYNC(f, int);", PROTOTYPE_DIFFERS),
    "one type too many": ("int f(int); IORA_ASYNC(f, int, int);", PROTOTYPE_DIFFERS),
    "a result that is not int": ("long f(int); IORA_ASYNC(f, int);", PROTOTYPE_DIFFERS),
    "no result": ("void f(int); IORA_ASYNC(f, int);", PROTOTYPE_DIFFERS),
    "more to come": ("int f(int, ...); IORA_ASYNC(f, int);", PROTOTYPE_DIFFERS),
    "an array": ("int f(int[3]); IORA_ASYNC(f, int[3]);", r"an array cannot be copied to a task"),
    "a prototype that comes later": ("IORA_ASYNC(f, int); int f(int);", r"undeclared"),
    "nine types": (
        "int f(int, int, int, int, int, int, int, int, int);"
        "IORA_ASYNC(f, int, int, int, int, int, int, int, int, int);", r"error"),
}


def errors_of(done):
    return "\n".join(line for line in done.stderr.splitlines() if "error: " in line)


@pytest.mark.parametrize("compiler", ["gcc", "clang", "g++", "clang++"])
def test_declarations_pass_without_a_word(compile_text, compiler):
    """So that the errors below are about what is wrong and nothing else."""
    right = DECLARATIONS + """
int spawn(void);
int spawn(void) {
    struct point point = {1, 2};
    (void)never_declared(1);
    return iora_gather(iora_go(add, 1, "two"), iora_go(take_none), iora_go(take_struct, point),
                       iora_go(take_out, 0), iora_go(take_writable, 0),
                       iora_go(apply, never_declared, 1));
}
"""
    done = compile_text(compiler, right)
    assert done.stderr == ""


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("wrong", WRONG_CALLS)
def test_wrong_call_is_an_error(compile_text, compiler, wrong):
    body, message = WRONG_CALLS[wrong]
    done = compile_text(compiler, f"{DECLARATIONS}\nvoid spawn(void) {{ {body} }}\n", check=False)
    assert done.returncode != 0
    assert re.search(message, errors_of(done)), done.stderr


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("wrong", WRONG_DECLARATIONS)
def test_wrong_declaration_is_an_error(compile_text, compiler, wrong):
    text, message = WRONG_DECLARATIONS[wrong]
    done = compile_text(compiler, f"#include <iora.h>\n{text}\n", check=False)
    assert done.returncode != 0
    assert re.search(message, errors_of(done)), done.stderr


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("wrong", WRONG_CALLS)
def test_wrong_call_is_an_error_in_cpp(compile_text, compiler, wrong):
    body, _ = WRONG_CALLS[wrong]
    done = compile_text(compiler, f"{DECLARATIONS}\nvoid spawn(void) {{ {body} }}\n", check=False)
    assert done.returncode != 0
    assert errors_of(done)


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("wrong", WRONG_DECLARATIONS)
def test_wrong_declaration_is_an_error_in_cpp(compile_text, compiler, wrong):
    text, _ = WRONG_DECLARATIONS[wrong]
    done = compile_text(compiler, f"#include <iora.h>\n{text}\n", check=False)
    assert done.returncode != 0
    assert errors_of(done)


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("type", ["int &", "const int &", "int &&", "int[]", "int[3]"])
def test_reference_or_array_is_an_error_in_cpp(compile_text, compiler, type):
    """It would refer to what may be gone when the task runs, unseen in the call."""
    text = f"#include <iora.h>\nint f(__typeof__({type}));\nIORA_ASYNC(f, {type});\n"
    done = compile_text(compiler, text, check=False)
    assert done.returncode != 0
    assert "copied to a task" in errors_of(done)


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_object_with_a_destructor_is_an_error_in_cpp(compile_text, compiler):
    """A task's arguments are copied by their bytes: a string's text would be gone."""
    text = ("#include <string>\n#include <iora.h>\n"
            "int f(std::string);\nIORA_ASYNC(f, std::string);\n")
    done = compile_text(compiler, text, check=False)
    assert done.returncode != 0
    assert "copied to a task" in errors_of(done)


def test_header_may_be_included_inside_extern_c(compile_text):
    compile_text("g++", 'extern "C" {\n#include <iora.h>\n}\n', "-std=c++11", *STRICT)


def test_warnings_are_as_before_behind_a_spawn(compile_text):
    """Only the spawn itself is judged more strictly than the user has asked for."""
    text = DECLARATIONS + """
void spawn(void) { iora_go(take_none); }
int *unwise(void) { return 5; }
"""
    done = compile_text("gcc", text)
    assert "warning: " in done.stderr and "[-Wint-conversion]" in done.stderr


def test_right_calls_compile_strictly(compile_text, dialect):
    compiler, standard = dialect
    text = (ROOT / "tests/py/programs/spawning.c").read_text()
    for optimisation in "-O0", "-O2":
        compile_text(compiler, text, f"-std={standard}", optimisation, *STRICT)


def test_right_calls_compile_with_every_warning_a_house_may_have(compile_text):
    text = (ROOT / "tests/py/programs/spawning.c").read_text()
    compile_text("gcc", text, "-std=c11", *STRICT, "-Wstrict-prototypes", "-Wmissing-prototypes",
                 "-Wcast-qual", "-Wpointer-arith", "-Wundef", "-Wwrite-strings")


@pytest.mark.parametrize("compiler", ["gcc", "clang", "g++", "clang++"])
def test_values_arrive(link_program, run, compiler):
    standard = "c++11" if "++" in compiler else "c11"
    program = link_program(compiler, [f"-std={standard}", "-O2", *STRICT],
                           ROOT / "tests/py/programs/spawning.c")
    run(program)


def test_declaration_in_a_header_serves_several_files(link_program, run, tmp_path):
    (tmp_path / "shared.h").write_text(
        "#include <iora.h>\nint shared(int number);\nIORA_ASYNC(shared, int);\n")
    (tmp_path / "one.c").write_text(
        '#include "shared.h"\n'
        "int shared(int number) { return number + 1; }\n")
    (tmp_path / "two.c").write_text(
        '#include "shared.h"\n'
        "static int amain(void) { return iora_await(iora_go(shared, 41)) == 42 ? 0 : -EIO; }\n"
        "IORA_ASYNC(amain);\n"
        "int main(void) { return iora_main(amain); }\n")
    run(link_program("gcc", STRICT, tmp_path / "one.c", tmp_path / "two.c"))
