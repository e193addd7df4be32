"""An echo server in plain sync code on the host: a task for each connection."""

import coop


def serve(conn: coop.Conn) -> None:
    """Send back what comes, until the client has sent all."""
    with conn:
        try:
            while data := conn.recv(65536):
                conn.sendall(data)
        except ConnectionError:
            pass  # a client that breaks off is its own affair


def main() -> None:
    """Accept for ever."""
    with coop.listen("127.0.0.1:0") as listener:
        while True:
            coop.spawn(serve, listener.accept())


if __name__ == "__main__":
    coop.run(main)
