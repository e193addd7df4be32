"""Runs three ticker guests and a plain Python task, each at its own pace, on one thread.

    python examples/ticker/host.py [--ticks 5] [--guest wat|go|c|FILE] [--poller hostpoll|oneoff|pollset]

FILE may be a module for preview 1 or a component; see docs/components.md for how to build one of those.
Ends when every guest has ticked so often, or with ^C; status 0 either way.
"""

import argparse
import sys
from pathlib import Path

import coop

HERE = Path(__file__).resolve().parent

BUILD = {
    "go": "GOOS=wasip1 GOARCH=wasm go build -o examples/ticker/guest-go.wasm examples/ticker/guest.go",
    "c": "python -m ziglang cc -target wasm32-wasi -O2"
    " -o examples/ticker/guest-c.wasm examples/ticker/guest.c",
}
PACES = {"slow": 500, "quick": 200, "hasty": 100}  # milliseconds between two ticks


def find_guest(name: str) -> Path:
    path = {"wat": HERE / "guest.wat", "go": HERE / "guest-go.wasm", "c": HERE / "guest-c.wasm"}.get(
        name, Path(name)
    )
    if not path.exists():
        how = f"; build it from the project's folder:\n  {BUILD[name]}" if name in BUILD else ""
        sys.exit(f"{path} is not there{how}")
    return path


def host_ticks() -> None:
    """The same in Python: `coop.sleep` parks this task, and the guests go on."""
    count = 0
    while True:
        coop.sleep(0.3)
        count += 1
        print(f"host: tick {count}", flush=True)


def guest_of(
    code: coop.Module | coop.Component, name: str, args: list[str]
) -> coop.Guest | coop.ComponentGuest:
    """Make a guest of either kind, whose lines are shown behind its name."""
    show = coop.text(lambda line: print(f"{name}: {line}", flush=True))
    if isinstance(code, coop.Component):
        return coop.ComponentGuest(code, name=name, args=args, stdout=show)
    return coop.Guest(code, name=name, args=args, stdout=show)


def tick(code: coop.Module | coop.Component, ticks: int) -> None:
    ticker = coop.spawn(host_ticks)
    with coop.TaskGroup() as group:
        for name, every_ms in PACES.items():
            guest = guest_of(code, name, [str(every_ms), *([str(ticks)] if ticks else [])])
            group.spawn(guest.run, name=name)
    ticker.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description="Three WebAssembly guests and a Python task that tick.")
    parser.add_argument(
        "--ticks", type=int, default=5, help="how often each guest ticks; 0: for ever (default 5)"
    )
    parser.add_argument("--guest", default="wat", help="wat, go, c, or a file (default wat)")
    parser.add_argument("--poller", default="hostpoll", choices=["hostpoll", "oneoff", "pollset"])
    options = parser.parse_args()
    guest = find_guest(options.guest)
    try:
        code = coop.load(guest)
        coop.run(tick, code, options.ticks, poller=options.poller)
    except KeyboardInterrupt:
        print("stopped")
    except (coop.CoopError, OSError, ValueError, ExceptionGroup) as error:
        # Each guest is a task of the group, and all of them may have failed: the first one tells.
        first = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
        sys.exit(f"ticker: {getattr(first, 'strerror', None) or first}")


if __name__ == "__main__":
    main()
