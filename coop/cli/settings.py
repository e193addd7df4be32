"""The comma lists of -W, -S, -C, -O and -D: `name`, `name=value`, several with commas between.

wasmtime has some 150 of these.  Each falls into one of four kinds here:

1. It does what it does there.
2. It changes nothing here, whatever its value: how code is compiled, or worlds of WASI
   that every guest gets.  It is accepted, and named at -v.
3. coop has it in one way only.  Asking for that way is kind 2; asking for the
   other is bad usage, because a guest would behave unlike what was asked for.
4. Everything else is bad usage.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from coop.cli.values import boolean, count, seconds


@dataclass(slots=True)
class Settings:
    """What the lists asked for; None where they said nothing.

    max_wasm_stack, memory -- bytes
    dense                  -- whether the guest is compiled to be one of very many
    exceptions             -- whether it may throw exceptions of wasm
    table_elements         -- a number
    timeout                -- seconds
    inherit_env            -- whether the guest gets coop's own environment
    use_cache              -- whether compiled modules are kept
    listen, connect        -- addresses, in order
    inherit_network, tcp, udp, look_up -- what of the network a component may use
    listen_fds             -- whether the guest gets the sockets that were passed to coop
    unused                 -- what was asked for and changes nothing, as it was spelled
    """

    max_wasm_stack: int | None = None
    dense: bool = False
    exceptions: bool = False
    memory: int | None = None
    table_elements: int | None = None
    timeout: float | None = None
    inherit_env: bool = False
    use_cache: bool = True
    listen: list[str] = field(default_factory=list)
    connect: list[str] = field(default_factory=list)
    listen_fds: bool = False
    inherit_network: bool = False
    tcp: bool = True
    udp: bool = True
    look_up: bool = False
    unused: list[str] = field(default_factory=list)


Read = Callable[[str | None], object]


@dataclass(frozen=True, slots=True)
class Setting:
    """One name of a list.

    means -- one line for `-W help`; empty for what changes nothing
    field -- the field of `Settings` it sets; empty for what changes nothing
    read  -- makes the value, or says what is wrong with it
    only  -- the one value coop can do; None: any
    """

    means: str = ""
    field: str = ""
    read: Read | None = None
    only: bool | None = None

    def take(self, settings: Settings, value: str | None, spelled: str) -> None:
        """Store the value in `settings`.  Raises: ValueError."""
        if self.only is not None and boolean(value) is not self.only:
            raise ValueError("coop cannot switch it off" if self.only else "coop does not support it")
        if not self.field:
            settings.unused.append(spelled)
            return
        assert self.read is not None
        found = self.read(value)
        if self.field == "listen":
            settings.listen.append(str(found))
        else:
            setattr(settings, self.field, found)


def _address(text: str | None) -> str:
    if not text:
        raise ValueError("HOST:PORT wanted")
    return text


_ANY, _YES, _NO = Setting(), Setting(only=True), Setting(only=False)


def _all(setting: Setting, names: str) -> dict[str, Setting]:
    return dict.fromkeys(names.split(), setting)


TABLES: dict[str, dict[str, Setting]] = {
    "-W": {
        "max-wasm-stack": Setting("bytes of stack a guest may use (default 524288)", "max_wasm_stack", count),
        "dense": Setting("less room for each guest, which is slower", "dense", boolean),
        "exceptions": Setting("exceptions of wasm, as C++ and setjmp throw them", "exceptions", boolean),
        "max-memory-size": Setting("bytes a memory may grow to (default 536870912)", "memory", count),
        "max-table-elements": Setting(
            "elements a table may grow to (default 1048576)", "table_elements", count
        ),
        "timeout": Setting("time the guest may run: 2, 2s, 100ms, 1h", "timeout", seconds),
        "async-stack-size": _ANY,  # follows from max-wasm-stack
        **_all(_ANY, "async-stack-zeroing component-model"),
        # Which proposals a guest may use is told in `coop.engine.config`; a test compares the two.
        **_all(
            _YES,
            "bulk-memory epoch-interruption extended-const multi-value reference-types relaxed-simd simd"
            " tail-call wide-arithmetic",
        ),
        **_all(
            _NO,
            "all-proposals component-model-async custom-page-sizes function-references gc"
            " legacy-exceptions memory64 multi-memory nan-canonicalization relaxed-simd-deterministic"
            " shared-everything-threads stack-switching threads trap-on-grow-failure unknown-exports-allow"
            " unknown-imports-default unknown-imports-trap wmemcheck",
        ),
    },
    "-S": {
        "tcplisten": Setting("HOST:PORT to listen on, as --tcplisten", "listen", _address),
        "listenfd": Setting(
            "give the guest the sockets the service manager passed, as --listen-fds", "listen_fds", boolean
        ),
        "inherit-env": Setting("give the guest the whole environment", "inherit_env", boolean),
        "inherit-network": Setting("let a component use the whole network", "inherit_network", boolean),
        "tcp": Setting("let a component that may use the network use TCP (default y)", "tcp", boolean),
        "udp": Setting("let a component that may use the network use UDP (default y)", "udp", boolean),
        "allow-ip-name-lookup": Setting("let a component look up every name", "look_up", boolean),
        **_all(_ANY, "cli cli-exit-with-code common http network-error-code preview0 preview2"),
        **_all(_NO, "config keyvalue nn threads tls"),
    },
    "-C": {
        "cache": Setting("keep compiled modules on disk (default y)", "use_cache", boolean),
        **_all(_ANY, "collector inlining native-unwind-info parallel-compilation"),
        **_all(_NO, "cranelift-debug-verifier pcc"),
    },
    "-O": {
        **_all(
            _ANY,
            "guard-before-linear-memory memory-guaranteed-dense-image-size memory-guard-size memory-init-cow"
            " memory-may-move memory-reservation memory-reservation-for-growth opt-level pooling-allocator"
            " regalloc-algorithm table-lazy-init",
        ),
        "signals-based-traps": _YES,
    },
    "-D": _all(_ANY, "address-map debug-info log-to-files logging"),
}
"""What each list may hold."""


def read_list(flag: str, text: str, settings: Settings) -> None:
    """Read one comma list of `flag`, as in `-W timeout=1s,max-wasm-stack=1048576`, into `settings`.

    Raises: ValueError that names the setting.
    """
    for item in text.split(","):
        name, equals, value = item.partition("=")
        setting = TABLES[flag].get(name)
        if setting is None:
            raise ValueError(f"{flag} {name}: {_unknown(flag, name)}")
        try:
            setting.take(settings, value if equals else None, f"{flag} {item}")
        except ValueError as error:
            raise ValueError(f"{flag} {item}: {error}") from None


def _unknown(flag: str, name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, TABLES[flag], 1)
    return f"coop has no such setting; did you mean {near[0]}?" if near else "coop has no such setting"


def list_help(flag: str) -> str:
    """Return what `-W help` shows."""
    table = TABLES[flag]
    lines = [f"  {flag} {name:<20} {setting.means}" for name, setting in table.items() if setting.means]
    for only, headline in (
        (None, "Accepted, and changes nothing here:"),
        (True, "Always on:"),
        (False, "Always off:"),
    ):
        names = sorted(n for n, setting in table.items() if not setting.means and setting.only is only)
        if names:
            lines += ["", headline, *(f"  {flag} {name}" for name in names)]
    return "\n".join(lines).strip("\n")
