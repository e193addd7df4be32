"""Sockets of host code, in plain sync style: listeners, connections, and what an address may be.

address, resolve   what stands for an address, and what a name stands for
conn               connections and listeners; a call that would block parks its task
dial, binding      make them
tls                encrypts a connection; imported by who wants it, since `ssl` is large
"""

from coop.net.address import Address
from coop.net.conn import Conn, Listener
from coop.net.dial import connect, listen

__all__ = ["Address", "Conn", "Listener", "connect", "listen"]
