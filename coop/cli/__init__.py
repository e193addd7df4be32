"""The command line: `coop run guest.wasm`, spelled as `wasmtime run` spells it.

command   the options and their help, and one line for whatever goes wrong
given     from the options to a plan
settings  the comma lists of -W, -S, -C, -O and -D
passed    the sockets that a service manager has opened
plan      what was asked for, and the exit statuses
values    what stands on a command line as text: durations, sizes, arguments of exports
wave      the same, for values of WIT
tell      lines to the user
guestrun  one guest from its file to its exit status; modulerun and componentrun each kind of it
serve     a component that answers HTTP requests
doctor    what a guest imports and what of it is given, without running it; finding: what its report
          consists of; findings and componentfindings: the rules; imports, toolchain: what these know
witfolder what `coop wit` leaves in a folder
"""

from coop.cli.command import main

__all__ = ["main"]
