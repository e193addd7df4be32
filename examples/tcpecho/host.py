"""Serves the TCP echo guest beside a ticker guest: two guests, many clients, one thread.

    python examples/tcpecho/host.py [--port 9999] [--guest wat|go|c|FILE] [--poller hostpoll|oneoff|pollset]

The guest written in WAT needs no toolchain. FILE may be a module for preview 1, which is handed a listener,
or a component, which opens its own. ^C ends the program, with status 0.
"""

import argparse
import sys
from pathlib import Path

import coop

HERE = Path(__file__).resolve().parent
SHOW = coop.text(lambda line: print(line, flush=True))
TICKER = HERE.parent / "ticker" / "guest.wat"

BUILD = {
    "go": "GOOS=wasip1 GOARCH=wasm go build -o examples/tcpecho/guest-go.wasm examples/tcpecho/guest.go",
    "c": "python -m ziglang cc -target wasm32-wasi -O2"
    " -o examples/tcpecho/guest-c.wasm examples/tcpecho/guest.c",
}


def find_guest(name: str) -> Path:
    path = {"wat": HERE / "guest.wat", "go": HERE / "guest-go.wasm", "c": HERE / "guest-c.wasm"}.get(
        name, Path(name)
    )
    if not path.exists():
        how = f"; build it from the project's folder:\n  {BUILD[name]}" if name in BUILD else ""
        sys.exit(f"{path} is not there{how}")
    return path


def serve_module(address: str, server: coop.Module) -> int:
    with coop.listen(address) as listener:
        host, port = listener.address[:2]
        print(f"serving {server.name} on {host}:{port}")
        print(f"in another terminal, type:  nc {host} {port}", flush=True)
        # The listener becomes descriptor 3 of the guest. Whatever it waits for, only this task is parked.
        return coop.Guest(server, listen=[listener], stdout=SHOW, stderr="inherit").run()


def serve_component(address: str, server: coop.Component) -> int:
    def tell(line: str) -> None:
        # "serving on HOST:PORT", with the port that it got
        where = line.rpartition(" ")[2]
        print(f"serving {server.name} on {where}")
        print(f"in another terminal, type:  nc {where.replace(':', ' ')}", flush=True)

    host, _, port = address.rpartition(":")
    network = coop.Network(listen=[address])
    guest = coop.ComponentGuest(
        server, args=[host, port], network=network, stdout=coop.text(tell), stderr="inherit"
    )
    return guest.run()


def serve(address: str, server: coop.Module | coop.Component, ticker: coop.Module, every_ms: int) -> None:
    with coop.TaskGroup() as group:
        # No listener, so without a word this guest would get the limits of one that is meant to end.
        limits = coop.Limits.for_server()
        group.spawn(coop.Guest(ticker, args=[str(every_ms)], stdout=SHOW, limits=limits).run, name="ticker")
        if isinstance(server, coop.Component):
            code = serve_component(address, server)
        else:
            code = serve_module(address, server)
        group.cancel()
    print(f"the server ended with exit code {code}")


def main() -> None:
    parser = argparse.ArgumentParser(description="TCP echo served by a WebAssembly guest, beside a ticker.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=9999, help="port to listen on; 0: any (default 9999)")
    parser.add_argument("--guest", default="wat", help="wat, go, c, or a file (default wat)")
    parser.add_argument("--poller", default="hostpoll", choices=["hostpoll", "oneoff", "pollset"])
    parser.add_argument(
        "--every", type=int, default=1000, metavar="MS", help="ticker's interval (default 1000)"
    )
    options = parser.parse_args()
    guest = find_guest(options.guest)
    try:
        server = coop.load(guest)
        ticker = coop.Module.from_file(TICKER)
        coop.run(
            serve, f"{options.host}:{options.port}", server, ticker, options.every, poller=options.poller
        )
    except KeyboardInterrupt:
        print("stopped")
    except (coop.CoopError, OSError, ValueError) as error:
        sys.exit(f"tcpecho: {getattr(error, 'strerror', None) or error}")


if __name__ == "__main__":
    main()
