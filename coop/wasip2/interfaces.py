"""Every interface of WASI 0.2 that a guest is offered, in the order their packages build on each other."""

from coop.wasip2 import cli, clocks, io, random
from coop.wasip2.filesystem import interfaces as filesystem
from coop.wasip2.http import interfaces as http
from coop.wasip2.sockets import names, network, tcp, udp
from coop.wasip2.world import WorldInterface

__all__ = ["INTERFACES"]

INTERFACES: tuple[type[WorldInterface], ...] = (
    *io.INTERFACES,
    *clocks.INTERFACES,
    *random.INTERFACES,
    *filesystem.INTERFACES,
    *network.INTERFACES,
    *tcp.INTERFACES,
    *udp.INTERFACES,
    *names.INTERFACES,
    *cli.INTERFACES,
    *http.INTERFACES,
)
