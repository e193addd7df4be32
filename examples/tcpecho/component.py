"""The TCP echo guest as a component: it opens its own listener, and one poll covers every client.

Build it with componentize-py for the world `command` that `coop wit` writes, and run it with

    coop run --allow-listen 127.0.0.1:9999 tcpecho.wasm 127.0.0.1 9999

While nothing is owed to a client we wait for it to send; while something is, we wait for it to take.  So
one that does not read holds up itself alone.
"""

import sys
from contextlib import suppress
from dataclasses import dataclass

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import instance_network, poll, tcp, tcp_create_socket
from wit_world.imports.network import (
    IpAddressFamily,
    IpSocketAddress_Ipv4,
    Ipv4SocketAddress,
)
from wit_world.imports.poll import Pollable
from wit_world.imports.streams import InputStream, OutputStream


@dataclass
class Client:
    """One connection, what it is waited for with, and what is still owed to it."""

    socket: tcp.TcpSocket
    source: InputStream
    sink: OutputStream
    readable: Pollable
    writable: Pollable
    owed: bytes = b""

    def awaited(self) -> Pollable:
        """What must happen before there is something to do for it."""
        return self.writable if self.owed else self.readable

    def echo(self) -> bool:
        """Give back what has come, as much as it takes; whether there may be more."""
        try:
            self.owed = self.owed or self.source.read(4096)
            room = self.sink.check_write() if self.owed else 0
            if room:
                self.sink.write(self.owed[:room])
                self.owed = self.owed[room:]
        except Err:  # the client has ended
            return False
        return True

    def close(self) -> None:
        """Let go of it, what was made of it first."""
        for handle in (self.readable, self.writable, self.source, self.sink, self.socket):
            handle.__exit__(None, None, None)


def listen(host: str, port: int) -> tcp.TcpSocket:
    """Listen, by the steps of wasi:sockets: each begins, and ends when it is ready."""
    network = instance_network.instance_network()
    listener = tcp_create_socket.create_tcp_socket(IpAddressFamily.IPV4)
    address = tuple(int(part) for part in host.split("."))
    listener.start_bind(network, IpSocketAddress_Ipv4(Ipv4SocketAddress(port, address)))
    listener.finish_bind()
    listener.start_listen()
    listener.finish_listen()
    return listener


class Run(exports.Run):
    """The command."""

    def run(self) -> None:
        """Serve for ever."""
        if len(sys.argv) != 3 or not (sys.argv[1].replace(".", "") + sys.argv[2]).isdigit():
            print("usage: tcpecho ADDRESS PORT", file=sys.stderr)
            raise Err(None)  # which is exit code 1
        host, port = sys.argv[1], int(sys.argv[2])
        try:
            listener = listen(host, port)
        except Err as error:
            print(f"listen on {host}:{port}: {error.value.name}", file=sys.stderr)
            raise Err(None) from error
        bound = listener.local_address().value.port
        print(f"serving on {host}:{bound}", flush=True)
        knocking = listener.subscribe()
        clients: list[Client] = []
        while True:
            ready = poll.poll([knocking, *(client.awaited() for client in clients)])
            for client in [clients[i - 1] for i in ready if i > 0]:
                if not client.echo():
                    clients.remove(client)
                    client.close()
            if 0 in ready:
                with suppress(Err):  # the client has gone again
                    socket, source, sink = listener.accept()
                    clients.append(Client(socket, source, sink, source.subscribe(), sink.subscribe()))
