"""What a guest is given to talk over the network with: names for its code, and a way to run it with them."""

import os
from collections.abc import Callable
from typing import Any

from coop.wasip2.sockets.network import Network

__all__ = ["FAMILIES", "descriptors", "player"]

#: Loopback in both families, as host code names it.
FAMILIES = {"ipv4": "127.0.0.1", "ipv6": "::1"}

_PRELUDE = """
import socket

V4, V6 = network.IpAddressFamily.IPV4, network.IpAddressFamily.IPV6
net = instance_network.instance_network()


def address(host, port=0, scope=0, flow=0):
    if ":" not in host:
        packed = socket.inet_pton(socket.AF_INET, host)
        return network.IpSocketAddress_Ipv4(network.Ipv4SocketAddress(port, tuple(packed)))
    packed = socket.inet_pton(socket.AF_INET6, host)
    words = tuple(packed[i] << 8 | packed[i + 1] for i in range(0, 16, 2))
    return network.IpSocketAddress_Ipv6(network.Ipv6SocketAddress(port, flow, words, scope))


def plain(found):
    return text(found.value.address), found.value.port


def text(parts):
    if len(parts) == 4:
        return socket.inet_ntop(socket.AF_INET, bytes(parts))
    return socket.inet_ntop(socket.AF_INET6, b"".join(part.to_bytes(2, "big") for part in parts))


def error(call, *args):
    "Return the name of the error that a call answers; what it answers else is repeated."
    try:
        return f"no error but {call(*args)!r}"
    except Err as caught:
        return getattr(caught.value, "name", type(caught.value).__name__).lower().replace("_", "-")


def drop(*handles):
    for handle in handles:
        handle.__exit__(None, None, None)


def family(host):
    return V6 if ":" in host else V4


def new(host="127.0.0.1"):
    return tcp_create_socket.create_tcp_socket(family(host))


def bound(host="127.0.0.1", port=0):
    sock = new(host)
    sock.start_bind(net, address(host, port))
    sock.finish_bind()
    return sock


def listening(host="127.0.0.1", port=0):
    sock = bound(host, port)
    sock.start_listen()
    sock.finish_listen()
    return sock


def connected(host, port):
    sock = new(host)
    sock.start_connect(net, address(host, port))
    sock.subscribe().block()
    return (sock, *sock.finish_connect())


def accepted(listener):
    listener.subscribe().block()
    return listener.accept()


def pair():
    listener = listening()
    ours = connected(*plain(listener.local_address()))
    theirs = accepted(listener)
    drop(listener)
    return ours, theirs


def write(sink, data):
    "Write as a guest that waits for permits does."
    while data:
        permit = sink.check_write()
        if permit:
            sink.write(data[:permit])
            data = data[permit:]
        else:
            sink.subscribe().block()
    sink.blocking_flush()


def read(source):
    "Read until the end."
    whole = b""
    while True:
        try:
            whole += source.blocking_read(65536)
        except Err as caught:
            assert isinstance(caught.value, streams.StreamError_Closed), caught.value
            return whole


def udp_new(host="127.0.0.1"):
    return udp_create_socket.create_udp_socket(family(host))


def udp_bound(host="127.0.0.1", port=0):
    sock = udp_new(host)
    sock.start_bind(net, address(host, port))
    sock.finish_bind()
    return sock


def send(sink, *datagrams):
    sink.check_send()
    return sink.send([udp.OutgoingDatagram(data, where) for data, where in datagrams])


def receive(source, most=1):
    source.subscribe().block()
    return [(datagram.data, plain(datagram.remote_address)) for datagram in source.receive(most)]


def look_up(name):
    stream = ip_name_lookup.resolve_addresses(net, name)
    stream.subscribe().block()
    found = []
    while (each := stream.resolve_next_address()) is not None:
        found.append(text(each.value))
    return found
"""


def descriptors() -> int:
    """Return how many descriptors the process has open."""
    return len(os.listdir("/proc/self/fd"))


def player(python: Callable[..., Any]) -> Callable[..., Any]:
    """Make of the fixture `python` one whose guest has a network, all of it unless told, and these names."""

    def play(act: Callable[[Any], Any], **given: Any) -> Any:
        def begin(run: Any) -> Any:
            run(_PRELUDE)
            return act(run)

        return python(begin, **{"network": Network.all(), **given})

    return play
