"""wasmtime engines: one for each stack size and kind of guest, shared by every thread of the process.

What is switched on, and why:

- Epoch interruption: the only way to take the thread back from a guest that
  computes.  It costs a guest up to a tenth of its speed.
- The default memory reservation of 4 GiB: the base of a memory never moves, and
  no access needs a bounds check of its own.  Dense engines do without: see `dense`.
- Stack: the fiber carries the guest's stack and, during a host call, Python's.
  wasmtime lets `max_wasm_stack` be larger than the fiber's stack and then aborts
  the process; so the fiber is always made larger than what the guest gets, by as
  much as a program's first thread has: what Python survives there, it survives here.
- Stacks come from an arena of coop's: see `arena`.

What is switched off:

- Shared memories: `memory.atomic.wait` on one would hold the thread.
- 64-bit memories: they may outgrow the reservation, and then their base moves.
- Second memories: the limit of memory is counted for each.
- Streams, futures and tasks of components: a value of theirs that reaches a host function
  ends the process.  With them goes a second way of calling, which loses track of the
  handles that a host call was lent once there are two.
- Typed function references and garbage collection: types would be more than functions, and what
  such a guest allocates is freed by calls that hold the thread.
- Exceptions of wasm, unless asked for.  Those that a guest keeps lie in a heap beside its memory,
  as large as the limit of memory allows.  wasmtime frees a chain of them at once: of a heap of
  512 MiB, that holds the thread for a second.

After a fork, wasmtime's compiling threads do not exist in the child, and a
compile that asked for them would wait for ever.  So a child gets engines of its
own, which compile on the calling thread.
"""

import ctypes as C
import os
import threading
from dataclasses import dataclass
from typing import Any

import wasmtime
from wasmtime import _bindings

from coop.engine.arena import Arena
from coop.engine.binary import CORE, MAGIC
from coop.engine.capi import WASMTIME_VERSION, address, held, held_library
from coop.engine.dense import DENSE_MEMORY, memory_creator
from coop.engine.faults import remember_handlers
from coop.engine.stacks import Creator, stack_creator
from coop.engine.workers import require_workers
from coop.slips import Unique

DEFAULT_WASM_STACK = 512 << 10
"""wasmtime's own default, in bytes."""

MAX_WASM_STACK = 256 << 20
"""More than this is bad usage: each guest would reserve it."""

HOST_STACK = 8 << 20
"""What Python may need on a fiber during a host call, up to its own limit of recursion.  It is reserved,
and becomes memory only where it is used."""


@dataclass(frozen=True)
class Engine(Unique):
    """A wasmtime engine and what it was made with.

    handle     -- wasmtime-py's wrapper
    address    -- the C engine
    wasm_stack -- bytes of stack a guest may use
    identity   -- a text in which engines that make different code differ
    stacks     -- where its guests' stacks are
    memories   -- where the memories of its guests are, if it is dense
    exceptions -- whether its guests may throw exceptions of wasm
    in_threads -- whether it compiles in threads of wasmtime's
    """

    handle: wasmtime.Engine
    address: int
    wasm_stack: int
    identity: str
    stacks: Arena
    memories: Arena | None
    exceptions: bool = False
    in_threads: bool = False

    @property
    def dense(self) -> bool:
        """Whether its guests' memories are slots of an arena; see `dense`."""
        return self.memories is not None

    def prepare(self) -> None:
        """Have all that a compile takes.  Raises: OSError if the system has no thread left for it."""
        if self.in_threads:
            require_workers(lambda: wasmtime.Module(self.handle, MAGIC + CORE))

    def increment_epoch(self) -> None:
        """End the slice of every guest that runs on this engine."""
        held.wasmtime_engine_increment_epoch(self.address)


_DETAILS = "WASMTIME_BACKTRACE_DETAILS"
"""The variable by which wasmtime is told to look into a guest's debug information for every trap."""

_lock = threading.Lock()
_engines: dict[tuple[int, bool, bool], Engine] = {}
_is_child = False


def _forget_engines() -> None:
    global _lock, _is_child
    _lock = threading.Lock()
    _is_child = True
    # Not deleted: their memory belongs to the parent's compiled modules as well.
    _parents_engines.append(dict(_engines))
    _engines.clear()


_parents_engines: list[dict[tuple[int, bool, bool], Engine]] = []
os.register_at_fork(after_in_child=_forget_engines)


def engine_for(wasm_stack: int = DEFAULT_WASM_STACK, dense: bool = False, exceptions: bool = False) -> Engine:
    """Return the process's engine for guests with `wasm_stack` bytes of stack, dense or not, throwing or not.

    Raises: ValueError if the size is out of range.
    """
    if not 4096 <= wasm_stack <= MAX_WASM_STACK:
        raise ValueError(f"max-wasm-stack {wasm_stack}: must be from 4096 to {MAX_WASM_STACK} bytes")
    with _lock:
        key = wasm_stack, bool(dense), bool(exceptions)
        found = _engines.get(key)
        if found is None:
            found = _engines[key] = _make(*key)
        return found


_config = held_library(
    {
        "wasmtime_config_host_stack_creator_set": (None, [C.c_void_p, C.c_void_p]),
        "wasmtime_config_host_memory_creator_set": (None, [C.c_void_p, C.c_void_p]),
    }
)
_creators: list[Creator] = []
"""Never freed, as the engines that call them."""


def _make(wasm_stack: int, dense: bool, exceptions: bool) -> Engine:
    config = _new_config()
    config.epoch_interruption = True
    config.parallel_compilation = not _is_child
    pointer = config.ptr()
    _bindings.wasmtime_config_max_wasm_stack_set(pointer, wasm_stack)
    _bindings.wasmtime_config_shared_memory_set(pointer, False)
    _bindings.wasmtime_config_wasm_memory64_set(pointer, False)
    _bindings.wasmtime_config_wasm_multi_memory_set(pointer, False)
    _bindings.wasmtime_config_wasm_gc_set(pointer, False)
    _bindings.wasmtime_config_wasm_function_references_set(pointer, False)
    _bindings.wasmtime_config_wasm_exceptions_set(pointer, exceptions)
    _bindings.wasmtime_config_wasm_component_model_async_set(pointer, False)
    _bindings.wasmtime_config_concurrency_support_set(pointer, False)
    stacks = _set_stacks(pointer, wasm_stack)
    memories = _set_memories(pointer) if dense else None
    handle = wasmtime.Engine(config)
    remember_handlers()
    # Never freed: a timer that ends slices may still hold its address when the interpreter goes down.
    C.pythonapi.Py_IncRef(C.py_object(handle))
    kind = (" dense" if dense else "") + (" exceptions" if exceptions else "")
    identity = f"wasmtime {WASMTIME_VERSION} epoch core stack={wasm_stack}{kind}"
    at = address(handle.ptr())
    return Engine(handle, at, wasm_stack, identity, stacks, memories, exceptions, not _is_child)


def _new_config() -> wasmtime.Config:
    """Make a configuration that leaves debug information alone: its names are as dear as `mangled` tells."""
    asked = os.environ.pop(_DETAILS, None)
    try:
        return wasmtime.Config()
    finally:
        if asked is not None:
            os.environ[_DETAILS] = asked


def _set_stacks(pointer: Any, wasm_stack: int) -> Arena:
    arena = Arena(wasm_stack + HOST_STACK, reach=wasm_stack)
    creator = stack_creator(arena)
    _creators.append(creator)
    _bindings.wasmtime_config_async_stack_size_set(pointer, arena.size)
    _config.wasmtime_config_host_stack_creator_set(address(pointer), C.byref(creator))
    return arena


def _set_memories(pointer: Any) -> Arena:
    arena = Arena(DENSE_MEMORY)
    creator = memory_creator(arena)
    _creators.append(creator)
    _bindings.wasmtime_config_memory_reservation_set(pointer, 0)
    _bindings.wasmtime_config_memory_guard_size_set(pointer, 0)
    _bindings.wasmtime_config_memory_reservation_for_growth_set(pointer, 0)
    _bindings.wasmtime_config_memory_may_move_set(pointer, True)
    # An image of the data segments is mapped over a memory, which wasmtime then takes for its own.
    _bindings.wasmtime_config_memory_init_cow_set(pointer, False)
    _config.wasmtime_config_host_memory_creator_set(address(pointer), C.byref(creator))
    return arena
