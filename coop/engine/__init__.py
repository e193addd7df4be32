"""The engine: the one package that touches wasmtime.

Read `drive` first: its loop is where a guest gives up the thread.
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
from coop.engine.sizes import Size, Sizes

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
    "Size",
    "Sizes",
    "host_function",
]
