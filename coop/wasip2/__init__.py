"""WASI 0.2: guests that are components, on the scheduler's one readiness model.

Read `guest` for the life of one, `pollables` for what it waits for, `io` for how bytes move;
each other module is a package of WASI, or a part of one.
"""

from coop.wasip2.guest import Guest
from coop.wasip2.sockets.policy import Network

__all__ = ["Guest", "Network"]
