"""WASI 0.2: guests that are components, on the scheduler's one readiness model.

Read `guest` for the life of one and `world` for what it has, `pollables` for what it waits for, `io`
for how bytes move, with `reading`, `writing` and `failure`.  `cli`, `clocks`, `random`, `filesystem`,
`sockets` and `http` are the other packages of WASI; `interfaces` is the list of all that is offered,
and `worlds` its text for those who build guests.
"""

from coop.wasip2.guest import Guest
from coop.wasip2.sockets.policy import Network

__all__ = ["Guest", "Network"]
