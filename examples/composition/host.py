"""Two components, one calling the other: what one imports is what the other exports.

    python examples/composition/host.py [--poller hostpoll|oneoff|pollset]

The import is a host function that may park.  It calls the second guest, which waits for a clock of its own;
meanwhile both guests are parked, and a task of Python goes on beside them.
"""

import argparse
from pathlib import Path

import coop
from coop.wit import Interface, function

HERE = Path(__file__).parent


class Slow(Interface):
    """What `front` imports, done by `back`."""

    name = "demo:math/slow"

    def __init__(self, back: coop.ComponentGuest) -> None:
        self.back = back

    @function("func(n: u32) -> u32")
    def square(self, n: int) -> int:
        print(f"front asks for the square of {n}", flush=True)
        answer: int = self.back.call("demo:math/slow", "square", n)
        return answer


def tick() -> None:
    while True:
        coop.sleep(0.02)
        print("tick", flush=True)


def run() -> None:
    back = coop.ComponentGuest(coop.Component.from_file(HERE / "back.wat"))
    front = coop.ComponentGuest(coop.Component.from_file(HERE / "front.wat"), imports=[Slow(back)])
    with back, front, coop.TaskGroup() as group:
        ticker = group.spawn(tick)
        print("sum:", front.call("", "sum-of-squares", 30, 50))
        ticker.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description="Two components, one calling the other.")
    parser.add_argument("--poller", choices=("hostpoll", "oneoff", "pollset"), default="hostpoll")
    options = parser.parse_args()
    try:
        coop.run(run, poller=options.poller)
    except KeyboardInterrupt:
        print("stopped")


if __name__ == "__main__":
    main()
