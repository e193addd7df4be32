"""Gives each client a guest of its own: one sandbox per connection, its standard streams on the connection.

    python examples/guest_per_client/host.py [--port 9998] [--guest wat|go|c|FILE] [--poller NAME]

The guest copies its input to its output and has never heard of a network. What it may use is limited for
each client by itself, and one that traps ends alone. ^C ends the program, with status 0.
"""

import argparse
import sys
from pathlib import Path

import coop

HERE = Path(__file__).resolve().parent

BUILD = {
    "go": "GOOS=wasip1 GOARCH=wasm go build"
    " -o examples/guest_per_client/guest-go.wasm examples/guest_per_client/guest.go",
    "c": "python -m ziglang cc -target wasm32-wasi -O2"
    " -o examples/guest_per_client/guest-c.wasm examples/guest_per_client/guest.c",
}
LIMITS = coop.Limits(memory=64 << 20, wall_time=600, cpu_time=10)


def find_guest(name: str) -> Path:
    path = {"wat": HERE / "guest.wat", "go": HERE / "guest-go.wasm", "c": HERE / "guest-c.wasm"}.get(
        name, Path(name)
    )
    if not path.exists():
        how = f"; build it from the project's folder:\n  {BUILD[name]}" if name in BUILD else ""
        sys.exit(f"{path} is not there{how}")
    return path


def serve_client(module: coop.Module, connection: coop.Conn, number: int) -> None:
    with connection:
        try:
            code = coop.Guest(
                module, stdin=connection, stdout=connection, stderr="inherit", limits=LIMITS
            ).run()
            end = f"exit code {code}"
        except (coop.CoopError, OSError) as error:
            end = str(error)  # a trap or a limit, also one of the system, ends this client's guest alone
    print(f"client {number}: {end}", flush=True)


def serve(address: str, module: coop.Module) -> None:
    with coop.listen(address) as listener, coop.TaskGroup() as group:
        host, port = listener.address[:2]
        print(f"serving {module.name}, one guest per client, on {host}:{port}")
        print(f"in another terminal, type:  nc {host} {port}", flush=True)
        for number, connection in enumerate(listener, 1):
            group.spawn(serve_client, module, connection, number)


def main() -> None:
    parser = argparse.ArgumentParser(description="A WebAssembly guest of its own for each TCP client.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=9998, help="port to listen on; 0: any (default 9998)")
    parser.add_argument("--guest", default="wat", help="wat, go, c, or a file (default wat)")
    parser.add_argument("--poller", default="hostpoll", choices=["hostpoll", "oneoff", "pollset"])
    options = parser.parse_args()
    guest = find_guest(options.guest)
    try:
        module = coop.Module.from_file(guest)
        coop.run(serve, f"{options.host}:{options.port}", module, poller=options.poller)
    except KeyboardInterrupt:
        print("stopped")
    except (coop.CoopError, OSError, ValueError) as error:
        sys.exit(f"guest_per_client: {getattr(error, 'strerror', None) or error}")


if __name__ == "__main__":
    main()
