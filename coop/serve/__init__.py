"""Serve HTTP with a component that exports `wasi:http/incoming-handler`.

- `server` listens, and ends gracefully
- `connection` one client: its requests, one after the other
- `wire` the bytes of that, and what was sent too early
- `heads` what is understood of a request, and what is refused
- `exchange` one request and its answer, between a connection and a guest
- `instances` the guests: a fresh one for each request, or some that are used again
"""

from coop.serve.instances import Instances
from coop.serve.server import ServeLimits, Server

__all__ = ["Instances", "ServeLimits", "Server"]
