"""What is wrong, or may surprise, when a guest meets what it is given: rules over the file's bytes.

Each rule takes the anatomy of the file and what the command line gives, and yields
findings.  Nothing is compiled or run, so a rule says no more than the file shows:

    MISSING   the guest cannot start, or lacks what it is plainly for
    TROUBLE   it starts, and then dead-locks, spins or fails
    NOTE      worth knowing; it runs

Sources of the rules: Go's net_fake.go and its linker's build modes, TinyGo's schedulers,
the WASI application ABI (commands and reactors).
"""

from collections.abc import Callable, Iterator

from coop.cli.componentfindings import component_findings
from coop.cli.finding import OFFERED, Finding, Level, Patient, missing, note, spelled, trouble
from coop.cli.imports import foreign
from coop.cli.toolchain import ASYNCIFY, GO, TINYGO
from coop.cli.values import arguments
from coop.engine.binary import PAGE

Rule = Callable[[Patient], Iterator[Finding]]


def findings(patient: Patient) -> list[Finding]:
    """Return all that is to be told of a guest, the worst first."""
    rules = _RULES if patient.is_readable else _OF_COMPONENT if patient.anatomy.is_component else _UNREADABLE
    found = [finding for rule in rules for finding in rule(patient)]
    order = list(Level)
    return sorted(found, key=lambda finding: order.index(finding.level))


# -- the file


def _is_cut(patient: Patient) -> Iterator[Finding]:
    if patient.anatomy.trouble:
        yield missing(patient.anatomy.trouble)


def _validity(patient: Patient) -> Iterator[Finding]:
    anatomy = patient.anatomy
    if any(memory.is_shared for memory in anatomy.memories):
        yield missing(
            "its memory is shared between threads, which coop does not have: build it without threads (for"
            " C and Rust: wasm32-wasip1 instead of wasm32-wasip1-threads)"
        )
    elif reason := patient.objection:
        yield missing(f"the engine refuses it: {reason}")


def _memory(patient: Patient) -> Iterator[Finding]:
    memories, limits = patient.anatomy.memories, patient.plan.limits
    least = sum(memory.minimum for memory in memories) * PAGE
    if limits.memory is not None and least > limits.memory:
        yield missing(
            f"its memory has {least} bytes from the start, and the limit is {limits.memory}:"
            f" -W max-memory-size={least} or more"
        )
    least = sum(table.minimum for table in patient.anatomy.tables)
    if limits.table_elements is not None and least > limits.table_elements:
        yield missing(
            f"its tables have {least} elements from the start, and the limit is {limits.table_elements}:"
            f" -W max-table-elements={least} or more"
        )
    if patient.wasi and patient.anatomy.exports.get("memory") != "memory":
        yield trouble('it exports no memory called "memory": every call that hands over bytes gets EFAULT')


# -- what it imports and exports


def _imports(patient: Patient) -> Iterator[Finding]:
    unknown: dict[str, list[str]] = {}
    for wanted in patient.anatomy.imports:
        has = OFFERED.get((wanted.module, wanted.name))
        if has is None:
            unknown.setdefault(wanted.module, []).append(wanted.name)
        elif wanted.kind != "function":
            yield missing(f"it imports {wanted.module}.{wanted.name} as a {wanted.kind}; it is a function")
        elif wanted.type != has:
            is_what = "a type that cannot be read" if wanted.type is None else spelled(wanted.type)
            yield missing(f"it imports {wanted.module}.{wanted.name} as {is_what}; it is {spelled(has)}")
    for module, names in unknown.items():
        yield missing(foreign(module, names))


def _entry(patient: Patient) -> Iterator[Finding]:
    exports, invoke = patient.anatomy.exports, patient.plan.invoke
    others = ", ".join(patient.functions()[:12])
    name = invoke if invoke is not None else "" if exports.get("") == "function" else "_start"
    if exports.get(name) == "function":
        if {"_start", "_initialize"} <= exports.keys():
            yield note("it exports both _start and _initialize: _initialize is called first")
        if invoke is not None:
            yield from _arguments(patient, invoke)
    elif name in exports:
        yield missing(f"its export {name} is a {exports[name]}, not a function")
    elif invoke is not None:
        hint = f"; it exports these: {others}" if others else ""
        yield missing(f"it exports no function {invoke}{hint}")
    elif "_initialize" in exports:
        yield missing(
            "it is a library (it exports _initialize, and no _start): --invoke NAME calls one of its"
            f" functions ({others or 'there is none'})"
        )
    elif patient.anatomy.has_start:
        yield note("it is a program without _start: its start section is all that it does")
    elif {"run", "resume", "getsp"} <= exports.keys():
        yield missing("it is built for a page's JavaScript (GOOS=js): build it with GOOS=wasip1")
    else:
        yield missing(
            f"it exports neither _start nor _initialize, so it is no program: --invoke NAME calls a function"
            f" ({others or 'there is none'}), and constructors do not run before it"
        )


def _arguments(patient: Patient, invoke: str) -> Iterator[Finding]:
    functype = patient.types.get(invoke)
    if functype is not None:
        try:
            arguments(functype[0], patient.plan.args)
        except ValueError as error:
            yield missing(f"--invoke {invoke}: {error}")


def _go_exports(patient: Patient) -> Iterator[Finding]:
    is_program = patient.is_by(GO) and "_start" in patient.anatomy.exports
    if is_program and (functions := patient.functions()):
        text = (
            f"its functions ({', '.join(functions[:12])}) can be called only while its main runs: Go's"
            " run-time system ends with it. For a library build it with -buildmode=c-shared"
        )
        yield (trouble if patient.plan.invoke in functions else note)(text)


# -- what it is given


def _listeners(patient: Patient) -> Iterator[Finding]:
    accepts, listens = "sock_accept" in patient.wasi, bool(patient.plan.listen)
    if patient.is_by(GO) and _listens_inside(patient):
        return  # told by its own rule
    if listens and not accepts:
        yield trouble(
            "it is given a socket that listens, and imports no sock_accept: clients connect, and nobody"
            f" answers{_FILE_LISTENER if patient.is_by(GO) or patient.is_by(TINYGO) else ''}"
        )
    if accepts and not patient.sockets:
        if patient.wasi >= _MAINTAINS_FILES:
            yield note("it can accept connections, and is given no socket (--tcplisten HOST:PORT gives one)")
        else:
            yield missing("it accepts connections, and no socket is given: --tcplisten HOST:PORT")
    if not accepts or "poll_oneoff" in patient.wasi:
        return
    if "fd_fdstat_set_flags" not in patient.wasi:
        yield trouble(
            "it accepts connections, and imports no poll_oneoff to wait for them. Sockets that listen are"
            " non-blocking, as Go wants them: accept answers EAGAIN at once, and the guest spins or gives up"
        )
    else:
        yield note(
            "it has no poll_oneoff to wait for clients: it must make the listening socket blocking first"
            " (Rust: set_nonblocking(false)), or accept answers EAGAIN at once"
        )


_MAINTAINS_FILES = {"path_create_directory", "path_rename", "path_unlink_file"}
"""Who imports all these is more than a server: an interpreter, whose programs may serve or not."""

_FILE_LISTENER = '. A Go server gets its listener by net.FileListener(os.NewFile(3, ""))'


def _listens_inside(patient: Patient) -> bool:
    anatomy = patient.anatomy
    return anatomy.mentions("net.(*ListenConfig).Listen") and not anatomy.mentions("net.FileListener")


def _go_network(patient: Patient) -> Iterator[Finding]:
    if not patient.is_by(GO):
        return
    anatomy = patient.anatomy
    if _listens_inside(patient) and anatomy.mentions("testing.MainStart"):
        yield note("its tests use a network inside the program itself, as every Go program for wasip1")
    elif _listens_inside(patient):
        yield trouble(
            "it listens by net.Listen (http.ListenAndServe does so), which for wasip1 is a network inside the"
            ' program itself: no client can reach it, and Accept ends in "all goroutines are asleep -'
            f' deadlock!"{_FILE_LISTENER}, and --tcplisten HOST:PORT gives it'
        )
    elif anatomy.mentions("net.Dial") or anatomy.mentions("net/http.(*Client).do"):
        yield note(
            "it dials, which for wasip1 reaches only the program itself (connection refused): preview 1 has"
            " no call for it. --tcpconnect HOST:PORT gives a connection, which net.FileConn takes"
        )


def _go_connections(patient: Patient) -> Iterator[Finding]:
    if patient.is_by(GO) and patient.plan.connect:
        first = 3 + len(patient.plan.listen)
        yield note(
            f"a read of the connection it is given (fd {first}) holds all its goroutines, unless it says"
            f' syscall.SetNonblock({first}, true) before os.NewFile({first}, "")'
        )


def _go_directories(patient: Patient) -> Iterator[Finding]:
    names = [f'"{entry.guest_name}"' for entry in patient.plan.dirs if not entry.guest_name.startswith("/")]
    if patient.is_by(GO) and names and "path_open" in patient.wasi:
        yield note(
            f'Go wants names of directories that begin with "/", and finds no files in {", ".join(names)}:'
            ' --dir HOST::/ names one "/"'
        )


def _tinygo(patient: Patient) -> Iterator[Finding]:
    if not patient.is_by(TINYGO):
        return
    has_scheduler = ASYNCIFY in patient.anatomy.exports
    # Releases that can wait for descriptors have system calls of their own for sockets.
    polls = "poll_oneoff" in patient.wasi and bool({"sock_accept", "sock_recv"} & patient.wasi)
    if not has_scheduler and "sock_accept" in patient.wasi:
        yield trouble(
            "TinyGo built it without a scheduler (-scheduler=none): a goroutine that waits for a client or"
            " for data dead-locks or spins. Build it with -scheduler=asyncify"
        )
    elif not has_scheduler:
        yield note(
            "TinyGo built it without a scheduler (-scheduler=none): it has one goroutine, and every wait"
            " stops all of it"
        )
    elif not polls and "fd_read" in patient.wasi:
        yield note(
            "this TinyGo waits inside a read: while one goroutine reads standard input, none of the others"
            " runs. Releases that wait for descriptors by poll_oneoff do not"
        )


def _network(patient: Patient) -> Iterator[Finding]:
    network = patient.plan.network
    if network.connect or network.listen or network.names:
        yield missing(
            "--allow-connect, --allow-listen and --allow-name are for components: a core module opens no"
            " sockets itself (--tcplisten and --tcpconnect give it some)"
        )


def _unused(patient: Patient) -> Iterator[Finding]:
    plan, wasi = patient.plan, patient.wasi
    opens = {name for name in wasi if name.startswith("path_")} | ({"fd_readdir"} & wasi)
    if opens and not plan.dirs:
        yield note("it can open files, and is given no directory: opening one fails (--dir gives one)")
    if plan.dirs and not opens:
        yield note("it is given a directory, and imports nothing that opens a file")
    if plan.env and "environ_get" not in wasi:
        yield note("it is given variables, and imports nothing that reads them")
    if plan.args and plan.invoke is None and "args_get" not in wasi:
        yield note("it is given arguments, and imports nothing that reads them")


_UNREADABLE: tuple[Rule, ...] = (_is_cut,)
_OF_COMPONENT: tuple[Rule, ...] = (component_findings,)
_RULES: tuple[Rule, ...] = (
    _validity,
    _memory,
    _imports,
    _entry,
    _go_exports,
    _listeners,
    _network,
    _go_network,
    _go_connections,
    _go_directories,
    _tinygo,
    _unused,
)
