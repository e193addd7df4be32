"""The seed items that tests claim with `@pytest.mark.seed("G8")`, and who claimed what in this run.

1. A claim counts only if its test ran and passed, to the end of its teardown.
2. A run of the whole suite must claim every required item; a run of a part proves nothing and is not asked.
"""

from pathlib import Path

import pytest

#: Section -> what it is about and how many items it has.
SECTIONS = {
    "G": ("subscription table and poll_oneoff poller", 27),
    "D": ("poll descriptor, deadlines, close", 14),
    "N": ("eight FIFOs and the TCP echo", 6),
    "S": ("scheduler and idle path", 13),
    "T": ("wasip1 registry, FD, net", 27),
    "U": ("wasip2", 17),
    "B": ("break", 11),
    "F": ("fd pool and snapshots", 9),
    "E": ("epoll", 25),
    "K": ("callback consumer", 9),
}


def _section(letter: str, first: int = 1, last: int | None = None) -> list[str]:
    return [f"{letter}{n}" for n in range(first, (last or SECTIONS[letter][1]) + 1)]


#: Every item, in the order of its section; T6a stands beside T6.
KNOWN = [seed for letter in SECTIONS for seed in _section(letter)]
KNOWN.insert(KNOWN.index("T6") + 1, "T6a")

#: What is built so far, and so must be proved.
REQUIRED = [
    *_section("G"),
    *_section("D"),
    *_section("B"),
    *_section("N"),
    *_section("S"),
    *_section("F"),
    *_section("T"),
    "T6a",
    *_section("U"),
]


def marked(item: pytest.Item) -> list[str]:
    """The ids in all seed marks of one test."""
    return [str(seed) for mark in item.iter_markers("seed") for seed in mark.args]


class SeedLedger:
    """A pytest plugin that collects the claims and fails a whole run with a required one missing."""

    def __init__(self, required: list[str]) -> None:
        self._required = required
        self._claims: dict[str, set[str]] = {}  # node id -> its ids; written by makereport alone
        self._is_whole = True

    @property
    def unclaimed(self) -> list[str]:
        """The required ids that no passed test claims."""
        claimed = set[str]().union(*self._claims.values())
        return [seed for seed in self._required if seed not in claimed]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item):
        report: pytest.TestReport = yield
        # An expected failure is reported as skipped, and one that passes against expectation as failed.
        if report.when == "call" and report.passed:
            self._claims[item.nodeid] = set(marked(item))
        elif report.failed:
            self._claims.pop(item.nodeid, None)
        return report

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self._is_whole = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._is_whole = self._is_whole and _selects_everything(session)
        if self._is_whole and self.unclaimed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not (self._is_whole and self.unclaimed):
            return
        terminalreporter.section("unclaimed seed items", red=True, bold=True)
        for letter, (about, _) in SECTIONS.items():
            missing = [seed for seed in self.unclaimed if seed[0] == letter]
            if missing:
                terminalreporter.line(f"{about}: no test that ran and passed claims {', '.join(missing)}")


#: Options that leave tests out; so does `ignore`, which may name what claims nothing.
NARROWING = ("keyword", "markexpr", "deselect", "ignore_glob", "lf", "stepwise", "collectonly")


def _selects_everything(session: pytest.Session) -> bool:
    """Whether nothing narrowed the run: no path below the test paths, no -k, no stop before the end."""
    config = session.config
    tops = {config.rootpath / path for path in config.getini("testpaths")} | {config.rootpath}
    asked = {(config.invocation_params.dir / arg).resolve() for arg in config.args}
    ignored = config.getoption("ignore", default=None) or ()
    narrowed = any(config.getoption(name, default=None) for name in NARROWING)
    narrowed = narrowed or any(_claims(config.invocation_params.dir / path) for path in ignored)
    stopped = session.shouldstop or session.shouldfail
    finished = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    return asked <= tops and not narrowed and not stopped and finished


def _claims(path: Path) -> bool:
    """Whether a file, or one below a folder, claims seed items."""
    files = path.rglob("*.py") if path.is_dir() else (path,)
    return any("pytest.mark.seed(" in file.read_text() for file in files)
