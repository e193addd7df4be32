"""A command that does what its first argument says."""

import os
import sys

from wit_world import exports
from wit_world.imports import stdout


class Run(exports.Run):
    def run(self) -> None:
        match sys.argv[1:]:
            case ["args", *rest]:
                print(rest)
            case ["env"]:
                print({name: value for name, value in os.environ.items() if name.startswith("T_")})
            case ["exit", code]:
                print("before")
                sys.exit(int(code))
            case ["fail"]:
                raise RuntimeError("it failed")
            case ["stdin"]:
                for line in sys.stdin:
                    print(line.rstrip("\n").upper())
            case ["stderr"]:
                print("to stderr", file=sys.stderr)
            case ["write", count]:
                sys.stdout.write("x" * int(count))
            case ["unflushed", count, *end]:
                out = stdout.get_stdout()
                assert out.check_write() >= int(count)
                out.write(b"x" * int(count))
                print("written", file=sys.stderr)
                if end == ["exit"]:
                    sys.exit(7)
                if end == ["trap"]:
                    stdout.get_stdout().blocking_write_and_flush(bytes(4097))
            case ["files", folder]:
                with open(f"{folder}/made", "w") as file:
                    file.write("by the guest")
                print(sorted(os.listdir(folder)))
            case ["terminals"]:
                print([stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)])
            case ["spin"]:
                while True:
                    pass
