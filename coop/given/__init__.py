"""What a guest is given to read, write and accept from, made into open files.

- `stdio` its standard streams, `pystreams` those that are Python values
- `sockets` listeners and connections
- `stream` what a guest may be told of each
"""

from coop.given.pystreams import AsksAhead
from coop.given.sockets import checked_sockets, open_connection, open_listener
from coop.given.stdio import Stdio, open_null, open_stdio
from coop.given.stream import Given

__all__ = [
    "AsksAhead",
    "Given",
    "Stdio",
    "checked_sockets",
    "open_connection",
    "open_listener",
    "open_null",
    "open_stdio",
]
