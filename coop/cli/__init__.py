"""The command line: `coop run guest.wasm`, spelled as `wasmtime run` spells it.

command   the options, their help, and the exit statuses
settings  the comma lists of -W, -S, -C, -O and -D
values    what stands on a command line as text: durations, sizes, arguments of exports
wave      the same, for values of WIT
plan      what was asked for, and the exit statuses
tell      lines to the user
guestrun  one guest from its file to its exit status; modulerun and componentrun each kind of it
doctor    what a guest imports and what of it is given, without running it
"""

from coop.cli.command import main

__all__ = ["main"]
