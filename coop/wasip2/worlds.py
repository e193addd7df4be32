"""WIT for those who build guests: every interface that coop offers, and worlds to build against.

    coop wit wit/
    componentize-py -d wit -w command componentize app -o app.wasm

The text is made of what coop has, so it is what a guest will find.
"""

import re

from coop.wasip2.interfaces import INTERFACES
from coop.wit import packages

__all__ = ["VERSION", "wit_files"]

VERSION = "0.2.12"
"""The newest version of WASI 0.2, which older hosts of 0.2 take as well for what they have."""

_EXPORTED = {
    "wasi:cli": "\ninterface run {\n  run: func() -> result;\n}\n",
    "wasi:http": """
interface incoming-handler {
  use types.{incoming-request, response-outparam};
  handle: func(request: incoming-request, response-out: response-outparam);
}
""",
}
"""Interfaces that guests provide, by package."""

_UNKNOWN = re.compile(r"^ *network-error-code:.*\n", re.MULTILINE)
"""What hosts of the first years of 0.2 do not have; one of them lies in componentize-py, which starts
each guest once while it builds it."""

_WORLDS = """package coop:guest;

world imports {{
{imports}
}}

world http {{
{http}
}}

world command {{
  include imports;
  export wasi:cli/run@{version};
}}

world service {{
  include imports;
  include http;
  export wasi:http/incoming-handler@{version};
}}
"""


def wit_files(version: str = VERSION) -> dict[str, str]:
    """Return the texts of a folder of WIT, by path: the packages in `deps`, and worlds.

    The worlds are `command`, which exports wasi:cli/run, `service`, which exports
    wasi:http/incoming-handler, and, to be included in worlds of one's own, `imports` and `http`.
    """
    # Types alone are no interface to import: a guest gets them with what uses them.
    lines = [f"  import {each.name}@{version};" for each in INTERFACES if each.exported()]
    http = [line for line in lines if "wasi:http/" in line]
    imports = [line for line in lines if line not in http]
    text = _WORLDS.format(imports="\n".join(imports), http="\n".join(http), version=version)
    found = {"world.wit": text}
    for package, text in packages(INTERFACES, version).items():
        path = f"deps/{package.replace(':', '-')}/package.wit"
        found[path] = _UNKNOWN.sub("", text) + _EXPORTED.get(package, "")
    return found
