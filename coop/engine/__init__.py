"""The engine: the one package that touches wasmtime.

Read `drive` first: its loop is where a guest gives up the thread.  Around it lie

- `shim`, `border`, `marshal`, `hostfunc`: how a guest's call of an import becomes a Python call
- `slices`, `preempt`, `watcher`, `account`: how one that computes is made to yield, and what it used
- `shots`, `quiet`: the timers for that, and why a fork finds them at rest
- `store`, `instance`, `cells`, `memory`, `traps`: one guest, its calls, its memory and its end
- `config`, `workers`, `codefile`, `code`, `module`, `cache`: engines, and what they have compiled
- `limits`, `sizes`, `admission`, `arena`, `stacks`, `cstack`, `dense`: what a guest may use, and how many fit
- `binary`, `signatures`, `anatomy`, `mangled`, `beginning`: what the bytes of a file say, and what is altered
- `capi`, `faults`: wasmtime's functions, and the signals it needs
- `component`: guests that are components
"""

from coop.engine.border import Border
from coop.engine.hostfunc import Caller, HostFunction, ImportTable, RawImport, host_function
from coop.engine.instance import Instance
from coop.engine.limits import Limits
from coop.engine.marshal import AT_ONCE
from coop.engine.memory import Memory, OutOfBounds
from coop.engine.module import Module
from coop.engine.preempt import SLICE_NS
from coop.engine.signatures import Import
from coop.engine.sizes import Sizes

__all__ = [
    "AT_ONCE",
    "SLICE_NS",
    "Border",
    "Caller",
    "HostFunction",
    "Import",
    "ImportTable",
    "Instance",
    "Limits",
    "Memory",
    "Module",
    "OutOfBounds",
    "RawImport",
    "Sizes",
    "host_function",
]
