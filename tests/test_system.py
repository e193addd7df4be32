import pytest

from coop.errors import Unsupported
from coop.system import check_system
from tests.children import run_child


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("version", [(3, 11, 0), (3, 13, 9), (3, 14, 1), (3, 15, 0)])
def test_linux_on_the_two_machines_is_right(machine, version):
    check_system("Linux", machine, "cpython", version)


def test_the_one_release_that_cannot_be_told_of_stacks_is_named():
    with pytest.raises(Unsupported, match=r"as 3\.14\.1 can; this is 3\.14\.0"):
        check_system("Linux", "x86_64", "cpython", (3, 14, 0))


@pytest.mark.parametrize(
    ("system", "machine", "implementation", "words"),
    [
        ("Darwin", "x86_64", "cpython", "coop needs Linux .* this is Darwin"),
        ("Linux", "riscv64", "cpython", "aarch64, x86_64; this is riscv64"),
        ("Linux", "x86_64", "pypy", "CPython .* this is pypy"),
        ("", "", "", "unknown system"),
    ],
)
def test_anything_else_is_named(system, machine, implementation, words):
    with pytest.raises(Unsupported, match=words):
        check_system(system, machine, implementation, (3, 12, 1))


@pytest.mark.parametrize(("has_gil", "said"), [(False, "coop needs CPython's GIL"), (True, "imported")])
def test_a_python_without_its_gil_is_named_where_coop_is_imported(has_gil: bool, said: str):
    child = run_child(
        f"import sys\nsys._is_gil_enabled = lambda: {has_gil}\n"
        "try:\n"
        "    import coop\n"
        "    print('imported')\n"
        "except Exception as error:\n"
        "    print(error)\n"
    )
    assert child.stdout.decode().startswith(said)


def test_importing_coop_elsewhere_says_so_before_anything_else_can_fail():
    child = run_child(
        "import platform\n"
        "platform.system = lambda: 'Darwin'\n"
        "import sys\n"
        "try:\n"
        "    import coop\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
        "print('wasmtime' in sys.modules)\n"
    )
    said = child.stdout.decode().splitlines()
    assert said[0].startswith("Unsupported coop needs Linux")
    assert said[1] == "False"


@pytest.mark.parametrize(
    "patch",
    [
        "import threading; threading.get_ident = lambda: 1",  # as gevent and eventlet do, each in its way
        "import select; select.poll = type('poll', (), {})",
        "import select; del select.poll",
    ],
)
def test_a_run_where_threads_have_been_replaced_says_so(patch):
    child = run_child(
        f"import coop, os\n{patch}\n"
        "try:\n"
        "    coop.run(print)\n"
        "except coop.Unsupported as error:\n"
        "    print(error, flush=True)\n"
        "    os._exit(0)\n"  # Python's own end asks which thread it is
    )
    assert child.stdout.startswith(b"coop needs the system's own threads and waits")


def test_an_import_warns_of_nothing_where_files_read_by_the_locale_are_warned_of():
    run_child(["-X", "warn_default_encoding", "-c", "import coop, coop.cli, coop.serve, coop.wasip2"])
