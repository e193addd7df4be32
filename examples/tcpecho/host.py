"""Serves the TCP echo guest beside a ticker guest: two guests, many clients, one thread.

    python examples/tcpecho/host.py [--port 9999] [--guest wat|go|c|FILE] [--poller hostpoll|oneoff|pollset]

The guest written in WAT needs no toolchain. ^C ends the program, with status 0.
"""

import argparse
import sys
from pathlib import Path

import coop

HERE = Path(__file__).resolve().parent
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


def serve(address: str, server: coop.Module, ticker: coop.Module, every_ms: int) -> None:
    show = coop.text(lambda line: print(line, flush=True))
    with coop.listen(address) as listener, coop.TaskGroup() as group:
        host, port = listener.address[:2]
        print(f"serving {server.name} on {host}:{port}")
        print(f"in another terminal, type:  nc {host} {port}", flush=True)
        # No listener, so without a word this guest would get the limits of one that is meant to end.
        limits = coop.Limits.for_server()
        group.spawn(coop.Guest(ticker, args=[str(every_ms)], stdout=show, limits=limits).run, name="ticker")
        # The listener becomes descriptor 3 of the guest. Whatever it waits for, only this task is parked.
        code = coop.Guest(server, listen=[listener], stdout=show, stderr="inherit").run()
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
    server = coop.Module.from_file(find_guest(options.guest))
    ticker = coop.Module.from_file(TICKER)
    try:
        coop.run(
            serve, f"{options.host}:{options.port}", server, ticker, options.every, poller=options.poller
        )
    except KeyboardInterrupt:
        print("stopped")
    except (coop.CoopError, OSError) as error:
        sys.exit(f"tcpecho: {getattr(error, 'strerror', None) or error}")


if __name__ == "__main__":
    main()
