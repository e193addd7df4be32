"""The comma lists of -W, -S, -C, -O and -D."""

import pytest

import coop
from coop.cli.command import POLLERS
from coop.cli.given import _limits
from coop.cli.settings import TABLES, Settings, list_help, read_list
from coop.netpoll import POLLERS as MADE


def read(*lists: tuple[str, str]) -> Settings:
    settings = Settings()
    for flag, text in lists:
        read_list(flag, text, settings)
    return settings


def test_one_list_holds_several_settings():
    settings = read(("-W", "timeout=2s,max-wasm-stack=0x100000,max-memory-size=65536"))
    assert (settings.timeout, settings.max_wasm_stack, settings.memory) == (2.0, 1 << 20, 65536)


def test_listeners_keep_their_order():
    settings = read(("-S", "tcplisten=127.0.0.1:1,tcplisten=127.0.0.1:2"), ("-S", "tcplisten=[::1]:3"))
    assert settings.listen == ["127.0.0.1:1", "127.0.0.1:2", "[::1]:3"]


def test_the_last_of_two_values_counts():
    assert read(("-W", "timeout=1s"), ("-W", "timeout=2s")).timeout == 2.0


@pytest.mark.parametrize(
    ("text", "wanted"), [("inherit-env", True), ("inherit-env=y", True), ("inherit-env=n", False)]
)
def test_the_environment_is_inherited_only_when_asked_for(text, wanted):
    assert read(("-S", text)).inherit_env is wanted


def test_the_module_cache_can_be_switched_off():
    assert read(("-C", "cache=n")).use_cache is False
    assert read().use_cache is True


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("-S", "preview2=false"),
        ("-S", "cli"),
        ("-S", "common"),
        ("-S", "http"),
        ("-C", "parallel-compilation=n"),
        ("-O", "opt-level=2"),
        ("-D", "debug-info"),
        ("-W", "simd"),
        ("-W", "epoch-interruption=y"),
        ("-S", "http=n"),
    ],
)
def test_what_changes_nothing_here_is_accepted_and_kept_for_the_log(flag, text):
    settings = read((flag, text))
    assert settings.unused == [f"{flag} {text}"]
    settings.unused.clear()
    assert settings == Settings()


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("-W", "bogus"),
        ("-W", "timeout=soon"),
        ("-W", "timeout"),
        ("-W", "max-wasm-stack=0"),
        ("-W", "max-memory-size=lots"),
        ("-W", "simd=n"),
        ("-W", "gc"),
        ("-W", "component-model-async"),
        ("-W", "unknown-imports-trap"),
        ("-W", "trap-on-grow-failure=y"),
        ("-W", "fuel=100"),
        ("-S", "threads"),
        ("-S", "inherit-env=maybe"),
        ("-S", "tcplisten"),
        ("-S", "tcplisten="),
        ("-C", "compiler=winch"),
        ("-D", "coredump=x"),
        ("-O", ""),
        ("-W", "timeout=1s,"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(flag, text):
    with pytest.raises(ValueError, match=rf"^{flag} {text.rpartition(',')[2].partition('=')[0]}"):
        read((flag, text))


#: A small program for each proposal of wasm: it starts only where the proposal is on.
PROPOSALS: dict[str, str | bytes] = {
    "bulk-memory": "(memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 1)))",
    "custom-page-sizes": "(memory 1 (pagesize 1))",
    "exceptions": "(tag $e) (func (throw $e))",
    "extended-const": "(global i32 (i32.add (i32.const 1) (i32.const 2)))",
    "function-references": "(type $t (func)) (func (param (ref $t)) (call_ref $t (local.get 0)))",
    "gc": "(type $s (struct (field i32))) (func (param (ref null $s)))",
    # (func (export "_start") try end), which the text format has forgotten
    "legacy-exceptions": b"\0asm\1\0\0\0\1\4\1\x60\0\0\3\2\1\0\7\x0a\1\6_start\0\0\x0a\7\1\5\0\6\x40\x0b\x0b",
    "memory64": "(memory i64 1)",
    "multi-memory": "(memory 1) (memory 1)",
    "multi-value": "(func (result i32 i32) (i32.const 1) (i32.const 2))",
    "reference-types": "(table 1 externref) (func (param externref))",
    "relaxed-simd": "(func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))",
    "shared-everything-threads": "(global (shared i32) (i32.const 1))",
    "simd": "(func (param v128))",
    "stack-switching": "(type $f (func)) (type $c (cont $f)) (func (param (ref null $c)))",
    "tail-call": "(func $f (return_call $f))",
    "threads": "(memory 1 1 shared)",
    "wide-arithmetic": "(func (param i64 i64) (result i64 i64) (i64.mul_wide_u (local.get 0) (local.get 1)))",
}

#: What is always on or off and is no proposal of wasm's core.
OTHERS = {
    *("all-proposals", "component-model-async", "epoch-interruption", "nan-canonicalization"),
    *("relaxed-simd-deterministic", "trap-on-grow-failure", "unknown-exports-allow"),
    *("unknown-imports-default", "unknown-imports-trap", "wmemcheck"),
}


#: On if it is asked for.
ASKED = {"exceptions"}


@pytest.mark.parametrize("kind", [{}, {"dense": True}, {"exceptions": True}], ids=str)
@pytest.mark.parametrize("name", sorted(PROPOSALS))
def test_a_proposal_is_on_exactly_if_the_list_says_so(name, kind):
    text = PROPOSALS[name]
    code = text if isinstance(text, bytes) else f'(module (func (export "_start")) {text})'

    def runs() -> bool:
        try:
            return coop.Guest(coop.Module.from_bytes(code, **kind)).run() == 0
        except coop.CoopError:
            return False

    assert coop.run(runs) is (name in kind if name in ASKED else TABLES["-W"][name].only)


def test_every_proposal_in_the_list_is_tried():
    assert {name for name, setting in TABLES["-W"].items() if setting.only is not None} == {
        *PROPOSALS,
        *OTHERS,
    } - ASKED
    assert {TABLES["-W"][name].field for name in ASKED} == ASKED


def test_a_misspelled_setting_is_guessed():
    with pytest.raises(ValueError, match="did you mean timeout"):
        read(("-W", "timeuot=1s"))


@pytest.mark.parametrize("flag", sorted(TABLES))
def test_the_help_of_a_list_names_every_setting_of_it(flag):
    assert set(TABLES[flag]) <= set(list_help(flag).split())


def test_the_defaults_told_in_the_help_are_those_of_the_limits():
    limits = coop.Limits()
    words = TABLES["-W"]
    assert f"(default {limits.memory})" in words["max-memory-size"].means
    assert f"(default {limits.table_elements})" in words["max-table-elements"].means
    default = coop.Module.from_file.__kwdefaults__["max_wasm_stack"]
    assert f"(default {default})" in words["max-wasm-stack"].means


def test_a_guest_with_a_listener_has_the_limits_of_a_server():
    assert _limits(Settings(), is_server=True) == coop.Limits.for_server()
    assert _limits(Settings(), is_server=False) == coop.Limits()


@pytest.mark.parametrize(
    ("text", "wanted"), [("listenfd", True), ("listenfd=y", True), ("listenfd=n", False)]
)
def test_sockets_that_were_passed_are_taken_only_when_asked_for(text, wanted):
    assert read(("-S", text)).listen_fds is wanted
    assert read().listen_fds is False


def test_a_time_that_was_named_is_the_only_one():
    limits = _limits(Settings(timeout=7200.0), is_server=True)
    assert (limits.wall_time, limits.cpu_time) == (7200.0, None)


def test_every_poller_can_be_chosen():
    assert set(POLLERS) == set(MADE)
