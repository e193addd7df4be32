"""Runs the Python code it is sent; the code leaves what it found in `result`.

Every imported interface is a name of the code's: `streams`, `poll`, `monotonic_clock`. An error result
is the exception `Err`. What the code binds stays for the next call.
"""

import asyncio  # noqa: F401 - what is imported when the guest is built, its code can import too
import encodings.idna  # noqa: F401
import importlib
import pkgutil
import socket  # noqa: F401
import traceback

import wit_world
import wit_world.imports
from componentize_py_types import Err, Ok, Some

scope = {"Err": Err, "Ok": Ok, "Some": Some}
for module in pkgutil.iter_modules(wit_world.imports.__path__):
    scope[module.name] = importlib.import_module(f"wit_world.imports.{module.name}")


class WitWorld(wit_world.WitWorld):
    def run(self, code: str) -> str:
        scope["result"] = None
        try:
            exec(code, scope)
        except BaseException:
            return "!" + traceback.format_exc()
        return repr(scope["result"])
