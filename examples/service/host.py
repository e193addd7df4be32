"""Serves HTTP with a component, beside a task of Python that counts: one thread, a guest for each request.

    python examples/service/host.py [--guest service.wasm] [--port 9999] [--reuse 1]
                                    [--poller hostpoll|oneoff|pollset]

^C lets the requests in progress end, and ends the program with status 0.
"""

import argparse
import sys
from pathlib import Path

import coop

BUILD = """build it from the project's folder:
  coop wit wit
  componentize-py -d wit -w service componentize -p examples/service guest -o service.wasm"""


class Service:
    """The guests of one component, and how many requests they were made for."""

    def __init__(self, component: coop.Component) -> None:
        self.component = component
        self.made = 0

    def make(self) -> coop.ComponentGuest:
        self.made += 1
        return coop.ComponentGuest(self.component, name=f"service {self.made}", stderr="inherit")

    def count(self) -> None:
        """Tell how many guests there have been, when there are more: a task like any other."""
        told = 0
        while True:
            coop.sleep(0.1)
            if self.made > told:
                told = self.made
                print(f"guests so far: {told}", flush=True)


def serve(address: str, component: coop.Component, reuse: int) -> None:
    service = Service(component)
    server = coop.HttpServer(coop.HttpGuests(service.make, reuse=reuse))
    host, port = server.listen(address)[:2]
    print(f"serving {component.name} on {host}:{port}")
    print(f"in another terminal, type:  curl http://{host}:{port}/", flush=True)
    with coop.TaskGroup() as group:
        group.spawn(service.count, name="count")
        server.run()
        group.cancel()
    print("stopped")


def main() -> None:
    parser = argparse.ArgumentParser(description="HTTP served by a WebAssembly component.")
    parser.add_argument("--guest", default="service.wasm", help="the component (default service.wasm)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=9999, help="port to listen on; 0: any (default 9999)")
    parser.add_argument("--reuse", type=int, default=1, help="requests a guest answers (default 1)")
    parser.add_argument("--poller", default="hostpoll", choices=["hostpoll", "oneoff", "pollset"])
    options = parser.parse_args()
    if not Path(options.guest).exists():
        sys.exit(f"{options.guest} is not there; {BUILD}")
    try:
        component = coop.load(options.guest)
        if not isinstance(component, coop.Component):
            sys.exit(f"service: {options.guest} is a core module; only a component serves HTTP")
        coop.run(serve, f"{options.host}:{options.port}", component, options.reuse, poller=options.poller)
    except KeyboardInterrupt:  # before it serves
        print("stopped")
    except (coop.CoopError, OSError, ValueError) as error:
        sys.exit(f"service: {getattr(error, 'strerror', None) or error}")


if __name__ == "__main__":
    main()
