"""WASI preview 1: guests as programs with descriptors, on the scheduler's one readiness model.

Read `guest` for the life of one, `imports` for the table of its calls, `poll` for the
call everything turns on.
"""

from coop.guest import GuestState
from coop.sources import Clocks, RandomSource, SystemRandom
from coop.wasip1.guest import Guest

__all__ = ["Clocks", "Guest", "GuestState", "RandomSource", "SystemRandom"]
