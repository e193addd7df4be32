"""Imports in words: what the functions of WASI are for, and whose the modules are that coop has not."""

from collections.abc import Callable, Sequence

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("arguments and environment", ("args_", "environ_")),
    ("clocks", ("clock_",)),
    ("random bytes", ("random_",)),
    ("waiting", ("poll_",)),
    ("directories and paths", ("path_", "fd_prestat_", "fd_readdir")),
    ("sockets", ("sock_",)),
    ("streams and open files", ("fd_",)),
    ("its own end", ("proc_",)),
    ("giving way to others", ("sched_",)),
)
"""What the functions of preview 1 are for, by how their names begin; the first that fits counts."""

MEANINGS = {
    "wasi_snapshot_preview1": "WASI preview 1",
    "wasi_unstable": "WASI snapshot 0, the one before preview 1",
}
"""The modules that coop has."""

SHOWN = 6
"""More names than this are counted."""


def group_of(name: str) -> str:
    """Return what a function of WASI is for, in words."""
    return next((words for words, starts in GROUPS if name.startswith(starts)), "unknown")


def some(names: Sequence[str]) -> str:
    """Return names as a list that stays short."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def foreign(module: str, names: Sequence[str]) -> str:
    """Say what a module's imports are that coop has not, and what to do."""
    what = f"it imports {some(names)} from {module or 'a module without a name'}, which coop does not have"
    for belongs, words in _OWNERS:
        if belongs(module, names):
            return f"{what}: {words}"
    return f"{what}: a host function of that name can be given from Python (coop.host_function)"


Belongs = Callable[[str, Sequence[str]], bool]


def _is(*modules: str) -> Belongs:
    return lambda module, _: module in modules


def _starts(*texts: str) -> Belongs:
    return lambda module, _: module.startswith(texts)


def _env(*starts: str) -> Belongs:
    return lambda module, names: module == "env" and any(name.startswith(starts) for name in names)


_OWNERS: tuple[tuple[Belongs, str], ...] = (
    (
        lambda module, names: module == "wasi_unstable" and "sock_accept" in names,
        "the snapshot before preview 1 cannot accept connections. Build it for preview 1",
    ),
    (
        lambda module, names: module in MEANINGS and any(name.startswith("sock_") for name in names),
        "these are sockets of another runtime (WasmEdge); preview 1 accepts connections, and opens none",
    ),
    (_is(*MEANINGS), "preview 1 has no such function"),
    (_is("wasi"), "threads of WASI (wasi-threads). Build it for wasm32-wasip1, without threads"),
    (_starts("wasix_"), "WASIX, which only Wasmer has. Build it for wasm32-wasip1"),
    (_starts("wasi_ephemeral_", "wasi_nn", "wasi_crypto"), "a proposal for WASI beyond preview 1"),
    (_is("gojs", "go"), "it is built for a page's JavaScript. Build it with GOOS=wasip1, or -target=wasip1"),
    (_starts("wbg", "__wbindgen"), "it is built for JavaScript by wasm-bindgen. Build it for wasm32-wasip1"),
    (_starts("wasi:", "cm32p2"), "WASI 0.2. It is the inside of a component; build it for preview 1"),
    (_starts("GOT.", "dylink"), "it is a library to be linked while it runs. Link it into a program"),
    (
        lambda module, names: module == "env" and list(names) == ["abort"],
        "AssemblyScript without WASI. Build it with the configuration of @assemblyscript/wasi-shim",
    ),
    (
        _env("emscripten_", "__syscall_", "invoke_", "_emscripten"),
        "Emscripten's JavaScript. Link it with -sSTANDALONE_WASM, or build it with wasi-libc",
    ),
    (
        _env("memory", "__memory_base"),
        "it wants a memory of its host. Link it as a program",
    ),
    (
        _is("env"),
        "what C declares and nothing defines. Link what does, or give it from Python (coop.host_function)",
    ),
)
"""Whose imports are whose, and what to do; the first that fits counts."""
