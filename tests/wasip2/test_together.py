"""Many guests at once: they and host code share one scheduler and one combined wait."""

import pytest

import coop
from coop.wasip2 import Guest, Network

ECHO = """
listener = tcp_create_socket.create_tcp_socket(network.IpAddressFamily.IPV4)
listener.start_bind(instance_network.instance_network(),
    network.IpSocketAddress_Ipv4(network.Ipv4SocketAddress(0, (127, 0, 0, 1))))
listener.finish_bind()
listener.start_listen()
listener.finish_listen()
result = listener.local_address().value.port
"""

SERVE = """
knocking, clients, ended = listener.subscribe(), [], 0
while ended < 2:
    ready = poll.poll([knocking, *(each[3] for each in clients)])
    for sock, source, sink, readable in [clients[i - 1] for i in ready if i]:
        try:
            sink.blocking_write_and_flush(source.read(1000))
        except Err:
            ended += 1
            clients = [each for each in clients if each[3] is not readable]
            for handle in (readable, source, sink, sock):
                handle.__exit__(None, None, None)
    if 0 in ready:
        sock, source, sink = listener.accept()
        clients.append((sock, source, sink, source.subscribe()))
"""


@pytest.mark.seed("U17")
@pytest.mark.parametrize("poller", ["hostpoll", "oneoff", "pollset"])
def test_two_clients_are_served_while_a_ticker_goes_on(component, poller: str):
    ticks: list[int] = []

    def tick() -> None:
        while True:
            coop.sleep(0.002)
            ticks.append(len(ticks))

    def talk(port: int, text: bytes) -> list[bytes]:
        said = []
        with coop.connect(("127.0.0.1", port)) as conn:
            for i in range(20):
                conn.sendall(text + b"%d" % i)
                said.append(conn.recv())
                coop.sleep(0.001)
        return said

    def main() -> list[list[bytes]]:
        with Guest(component, network=Network(listen=["127.0.0.1:0"])) as guest, coop.TaskGroup() as group:
            port = int(guest.call("", "run", ECHO))
            ticker = group.spawn(tick)
            server = group.spawn(guest.call, "", "run", SERVE)
            clients = [group.spawn(talk, port, text) for text in (b"one", b"two")]
            found = [client.wait() for client in clients]
            assert not server.wait().startswith("!")
            ticker.cancel()
            return found

    one, two = coop.run(main, poller=poller)
    assert one == [b"one%d" % i for i in range(20)]
    assert two == [b"two%d" % i for i in range(20)]
    assert len(ticks) > 5


def test_a_hundred_guests_wait_at_once(component):
    def main() -> list[str]:
        guests = [Guest(component) for _ in range(100)]
        for guest in guests:
            guest.start()
        code = "poll.poll([monotonic_clock.subscribe_duration(300_000_000)]); result = 1"
        with coop.TaskGroup() as group:
            tasks = [group.spawn(guest.call, "", "run", code) for guest in guests]
            found = [task.wait() for task in tasks]
        for guest in guests:
            guest.close()
        return found

    assert coop.run(main) == ["1"] * 100
