"""Prints facts about wasi:sockets, one on each line: what a call answers in a state, or to a value."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import (
    instance_network,
    ip_name_lookup,
    network,
    tcp,
    tcp_create_socket,
    udp_create_socket,
)
from wit_world.imports.udp import OutgoingDatagram

V4, V6 = network.IpAddressFamily.IPV4, network.IpAddressFamily.IPV6
LOOPBACK = (127, 0, 0, 1)
LOOPBACK6 = (0, 0, 0, 0, 0, 0, 0, 1)


def v4(port=0, host=LOOPBACK):
    return network.IpSocketAddress_Ipv4(network.Ipv4SocketAddress(port, host))


def v6(port=0, host=LOOPBACK6):
    return network.IpSocketAddress_Ipv6(network.Ipv6SocketAddress(port, 0, host, 0))


def said(call, *args):
    """Say what a call answers: the name of its error, or what it returns as far as every run agrees."""
    try:
        answer = call(*args)
    except Err as error:
        return getattr(error.value, "name", type(error.value).__name__).lower().replace("_", "-")
    text = "ok" if answer is None else answer if isinstance(answer, (bool, int)) else type(answer).__name__
    answer = None  # streams go before the socket that they are of, which the call still holds
    return text


def fact(name, call, *args):
    print(f"{name}: {said(call, *args)}")


def drop(*handles):
    for handle in handles:
        handle.__exit__(None, None, None)


def send(sink, *datagrams):
    """Send when there is room: a host may find out by trying."""
    count = 0
    while count == 0:
        sink.subscribe().block()
        sink.check_send()
        count = sink.send([OutgoingDatagram(data, where) for data, where in datagrams])
    return count


class Facts:
    def __init__(self):
        self.net = instance_network.instance_network()

    def tcp(self, family=V4):
        return tcp_create_socket.create_tcp_socket(family)

    def bound(self, family=V4):
        sock = self.tcp(family)
        sock.start_bind(self.net, v4() if family == V4 else v6())
        sock.finish_bind()
        return sock

    def listening(self, family=V4):
        sock = self.bound(family)
        sock.start_listen()
        sock.finish_listen()
        return sock

    def connected(self):
        listener = self.listening()
        sock = self.tcp()
        sock.start_connect(self.net, listener.local_address())
        sock.subscribe().block()
        streams = sock.finish_connect()
        listener.subscribe().block()
        return sock, streams, listener.accept()

    def closed(self):
        listener = self.listening()
        where = listener.local_address()
        drop(listener)
        sock = self.tcp()
        sock.start_connect(self.net, where)
        sock.subscribe().block()
        fact("connect to where nobody listens", sock.finish_connect)
        return sock

    def states(self):
        binding = self.tcp()
        binding.start_bind(self.net, v4())
        starting = self.bound()
        starting.start_listen()
        connecting = self.tcp()
        self.listener = self.listening()
        connecting.start_connect(self.net, self.listener.local_address())
        self.connection = self.connected()
        return {
            "unbound": self.tcp(),
            "binding": binding,
            "bound": self.bound(),
            "starting to listen": starting,
            "listening": self.listening(),
            "connecting": connecting,
            "connected": self.connection[0],
            "closed": self.closed(),
        }

    def asked(self):
        """What is only asked, in each state."""
        for state, sock in self.states().items():
            fact(f"local-address, {state}", sock.local_address)
            fact(f"remote-address, {state}", sock.remote_address)
            fact(f"is-listening, {state}", sock.is_listening)
            fact(f"address-family, {state}", sock.address_family)
            fact(f"hop-limit, {state}", sock.hop_limit)
            fact(f"keep-alive-enabled, {state}", sock.keep_alive_enabled)
            fact(f"set-listen-backlog-size, {state}", sock.set_listen_backlog_size, 5)
            fact(f"shutdown, {state}", sock.shutdown, tcp.ShutdownType.RECEIVE)
            if state != "connecting":  # it may have ended well or not be there yet
                fact(f"ready, {state}", sock.subscribe().ready)

    def finished(self):
        """What is finished without a start."""
        for state, sock in self.states().items():
            if state != "binding":
                fact(f"finish-bind, {state}", sock.finish_bind)
            if state != "connecting":
                fact(f"finish-connect, {state}", sock.finish_connect)
            if state != "starting to listen":
                fact(f"finish-listen, {state}", sock.finish_listen)
            if state != "listening":
                fact(f"accept, {state}", sock.accept)

    def started(self):
        for what in ("start_bind", "start_connect", "start_listen"):
            args = {"start_bind": (v4(),), "start_connect": (v4(9),), "start_listen": ()}[what]
            for state, sock in self.states().items():
                given = (self.net, *args) if args else ()
                fact(f"{what.replace('_', '-')}, {state}", getattr(sock, what), *given)

    def addresses(self):
        mapped = (0, 0, 0, 0, 0, 0xFFFF, 0x7F00, 1)
        compatible = (0, 0, 0, 0, 0, 0, 0x7F00, 1)
        cases = {
            "another family": (V4, v6(9)),
            "IPv4 for IPv6": (V6, v4(9)),
            "mapped": (V6, v6(9, mapped)),
            "compatible": (V6, v6(9, compatible)),
            "a group": (V4, v4(9, (224, 0, 0, 1))),
            "a group of IPv6": (V6, v6(9, (0xFF02, 0, 0, 0, 0, 0, 0, 1))),
            "everybody": (V4, v4(9, (255, 255, 255, 255))),
            "any": (V4, v4(9, (0, 0, 0, 0))),
            "any of IPv6": (V6, v6(9, (0,) * 8)),
            "mapped any": (V6, v6(9, (0, 0, 0, 0, 0, 0xFFFF, 0, 0))),
            "port 0": (V4, v4(0)),
            "not here": (V4, v4(4000, (192, 0, 2, 1))),
        }
        for name, (family, where) in cases.items():
            if name not in {"any", "any of IPv6", "port 0"}:
                fact(f"bind tcp to {name}", self.tcp(family).start_bind, self.net, where)
                fact(
                    f"bind udp to {name}",
                    udp_create_socket.create_udp_socket(family).start_bind,
                    self.net,
                    where,
                )
            if name != "not here":
                fact(f"connect tcp to {name}", self.tcp(family).start_connect, self.net, where)
                fact(f"stream to {name}", self.udp(family).stream, where)
                sock = self.udp(family)
                source, sink = sock.stream(None)
                fact(f"send to {name}", send, sink, (b"x", where))
                drop(source, sink, sock)
        fact("bind tcp to what is in use", self.tcp().start_bind, self.net, self.listening().local_address())

    def options(self):
        sock = self.tcp()
        for name in ("keep_alive_idle_time", "keep_alive_interval"):
            for value in (0, 1, 999_999_999, 1_500_000_000, 7_000_000_000, 2**64 - 1):
                fact(f"set-{name.replace('_', '-')} {value}", getattr(sock, f"set_{name}"), value)
                fact(f"{name.replace('_', '-')} then", getattr(sock, name))
        for value in (0, 1, 5, 127, 128, 2**32 - 1):
            fact(f"set-keep-alive-count {value}", sock.set_keep_alive_count, value)
            fact("keep-alive-count then", sock.keep_alive_count)
        for value in (True, False):
            fact(f"set-keep-alive-enabled {value}", sock.set_keep_alive_enabled, value)
            fact("keep-alive-enabled then", sock.keep_alive_enabled)
        for family in (V4, V6):
            for kind, each in (("tcp", self.tcp(family)), ("udp", self.udp(family))):
                self.shared_options(f"{kind} {family.name.lower()}", each)
        for value in (0, 1, 2**64 - 1):
            fact(f"set-listen-backlog-size {value}", sock.set_listen_backlog_size, value)

    def shared_options(self, kind, sock):
        hops = "hop_limit" if kind.startswith("tcp") else "unicast_hop_limit"
        for value in (0, 1, 42, 255):
            fact(f"{kind} set-hop-limit {value}", getattr(sock, f"set_{hops}"), value)
            fact(f"{kind} hop-limit then", getattr(sock, hops))
        for name in ("receive_buffer_size", "send_buffer_size"):
            for value in (0, 1, 65536, 2**64 - 1):
                fact(f"{kind} set-{name.replace('_', '-')} {value}", getattr(sock, f"set_{name}"), value)
                fact(f"{kind} {name.replace('_', '-')} then", getattr(sock, name))

    def streams_end(self):
        for how in tcp.ShutdownType:
            self.shut_down(how)
        sock, (source, sink), (other, source2, sink2) = self.connected()
        drop(sink)
        fact("the peer reads at once after the output is dropped", lambda: len(source2.read(10)))
        sink2.blocking_write_and_flush(b"unread")
        drop(source2, sink2)
        source.subscribe().block()
        fact("what was sent before the end", lambda: len(source.blocking_read(10)))
        drop(other)
        fact("the end", lambda: len(source.blocking_read(10)))
        fact("the end again", lambda: len(source.read(10)))
        fact("remote-address after the peer's end", sock.remote_address)
        drop(source, sock)
        self.reset()

    def shut_down(self, how):
        after = f"shutdown {how.name.lower()}"
        sock, (source, sink), (other, source2, sink2) = self.connected()
        sink2.blocking_write_and_flush(b"unread")
        source.subscribe().block()
        fact(after, sock.shutdown, how)
        fact(f"{after} again", sock.shutdown, how)
        fact(f"read after {after}", lambda: len(source.read(10)))
        fact(f"check-write after {after}", lambda: sink.check_write() > 0)
        fact(f"write after {after}", sink.blocking_write_and_flush, b"x")
        fact(f"flush after {after}", sink.blocking_flush)
        fact(f"ready after {after}", source.subscribe().ready)
        if how != tcp.ShutdownType.RECEIVE:
            source2.subscribe().block()
            fact(f"the peer reads after {after}", source2.blocking_read, 10)
        drop(source, sink, sock, source2, sink2, other)

    def reset(self):
        sock, (source, sink), (other, source2, sink2) = self.connected()
        sink.blocking_write_and_flush(b"never read")
        source2.subscribe().block()
        drop(source2, sink2, other)
        source.subscribe().block()
        fact("read after a reset", lambda: len(source.read(10)))
        fact("read again after a reset", lambda: len(source.read(10)))
        fact("write after a reset", sink.blocking_write_and_flush, b"x")
        fact("check-write after a reset", lambda: sink.check_write() > 0)
        drop(source, sink, sock)

    def udp(self, family=V4):
        sock = udp_create_socket.create_udp_socket(family)
        sock.start_bind(self.net, v4() if family == V4 else v6())
        sock.finish_bind()
        return sock

    def datagrams(self):
        sock = udp_create_socket.create_udp_socket(V4)
        fact("udp local-address, unbound", sock.local_address)
        fact("udp remote-address, unbound", sock.remote_address)
        fact("udp finish-bind, unbound", sock.finish_bind)
        fact("udp stream, unbound", sock.stream, None)
        fact("udp stream to a peer, unbound", sock.stream, v4(9))
        fact("udp start-bind", sock.start_bind, self.net, v4())
        fact("udp start-bind, binding", sock.start_bind, self.net, v4())
        fact("udp local-address, binding", sock.local_address)
        fact("udp stream, binding", sock.stream, None)
        fact("udp finish-bind", sock.finish_bind)
        fact("udp finish-bind again", sock.finish_bind)
        fact("udp start-bind, bound", sock.start_bind, self.net, v4())
        fact("udp local-address, bound", sock.local_address)
        fact("udp remote-address, bound", sock.remote_address)
        fact("udp ready", sock.subscribe().ready)
        fact(
            "udp bind to what is in use",
            udp_create_socket.create_udp_socket(V4).start_bind,
            self.net,
            sock.local_address(),
        )
        self.talks(sock)

    def talks(self, sock):
        peer = self.udp()
        source, sink = peer.stream(sock.local_address())
        fact("udp remote-address, with a peer", peer.remote_address)
        source2, sink2 = sock.stream(None)
        fact("receive nothing", lambda: len(source.receive(10)))
        fact("receive none", lambda: len(source.receive(0)))
        fact("check-send", sink.check_send)
        fact("send none", sink.send, [])
        fact("check-send after that", sink.check_send)
        fact("send to the peer", send, sink, (b"a", None))
        fact("send to the peer by address", send, sink, (b"b", sock.local_address()))
        fact("send to another", send, sink, (b"c", v4(9)))
        fact("send to nobody", send, sink2, (b"c", None))
        fact("send what is too large", send, sink, (bytes(65508), None))
        fact("send what can never be", send, sink, (bytes(65536), None))
        fact("send one and one too large", send, sink, (b"d", None), (bytes(65508), None))
        fact("send what is empty", send, sink, (b"", None))
        source2.subscribe().block()
        print("received:", [datagram.data for datagram in source2.receive(100)])
        drop(source2, sink2)
        self.streams_again(sock, peer, source, sink)

    def streams_again(self, sock, peer, source, sink):
        port = peer.local_address().value.port
        drop(source, sink)
        with_nobody = peer.stream(None)
        fact("udp remote-address, without a peer again", peer.remote_address)
        fact("the port is what it was", lambda: peer.local_address().value.port == port)
        drop(*with_nobody)
        gone = self.udp()
        where = gone.local_address()
        drop(gone)
        source, sink = peer.stream(where)
        fact("send to where nobody is", send, sink, (b"x", None))
        drop(source, sink)

    def names(self):
        for name in (
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "localhost",
            "LOCALHOST",
            "",
            "a b",
            "a..b",
            "-",
            "fe80::1%1",
            "[::1]",
            "x" * 64,
            "\u00fc" * 64,
        ):
            fact(f"resolve {name[:20]!a}", self.resolve, name)

    def resolve(self, name):
        stream = ip_name_lookup.resolve_addresses(self.net, name)
        stream.subscribe().block()
        found = 0
        while stream.resolve_next_address() is not None:
            found += 1
        return found

    def denied(self):
        """What is answered without a right to it."""
        for name, where in (("loopback", v4(9)), ("any", v4(0, (0, 0, 0, 0))), ("another family", v6(9))):
            fact(f"bind tcp to {name}", self.tcp().start_bind, self.net, where)
            fact(f"connect tcp to {name}", self.tcp().start_connect, self.net, where)
            fact(f"bind udp to {name}", udp_create_socket.create_udp_socket(V4).start_bind, self.net, where)
        fact("listen unbound", self.tcp().start_listen)
        for name in ("localhost", "a b"):
            fact(f"resolve {name}", ip_name_lookup.resolve_addresses, self.net, name)


class Run(exports.Run):
    def run(self) -> None:
        import sys

        facts = Facts()
        for name in sys.argv[1:]:
            getattr(facts, name)()
