"""The TCP echo guest as a component: it opens its own listener, and one poll covers every client.

Build it with componentize-py for the world `command` that `coop wit` writes, and run it with

    coop run --allow-listen 127.0.0.1:9999 tcpecho.wasm 127.0.0.1 9999
"""

import sys
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
    """One connection, and what it is waited for with."""

    socket: tcp.TcpSocket
    source: InputStream
    sink: OutputStream
    readable: Pollable

    def echo(self) -> bool:
        """Give back what has come; whether there may be more."""
        try:
            data = self.source.read(4096)
            if data:
                self.sink.blocking_write_and_flush(data)
        except Err:  # the client has ended
            return False
        return True

    def close(self) -> None:
        """Let go of it, what was made of it first."""
        for handle in (self.readable, self.source, self.sink, self.socket):
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
        host, port = sys.argv[1], int(sys.argv[2])
        listener = listen(host, port)
        bound = listener.local_address().value.port
        print(f"serving on {host}:{bound}", flush=True)
        knocking = listener.subscribe()
        clients: list[Client] = []
        while True:
            ready = poll.poll([knocking, *(client.readable for client in clients)])
            for client in [clients[i - 1] for i in ready if i > 0]:
                if not client.echo():
                    clients.remove(client)
                    client.close()
            if 0 in ready:
                socket, source, sink = listener.accept()
                clients.append(Client(socket, source, sink, source.subscribe()))
