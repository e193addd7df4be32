"""The timeline of a run: who ran when, who was ready and had to wait, who was parked and for what.

Read `record` first: it is told of each step and keeps the newest ones.  `perfetto` writes them for the
viewer of that name, `picture` draws them, and `file` is what a run is given: its name says which is wanted.
"""

from coop.timeline.file import Timeline

__all__ = ["Timeline"]
