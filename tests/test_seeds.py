"""The seed marks name known items, and a claim counts only when its test ran."""

from pathlib import Path

import pytest

from tests.children import ROOT, run_child
from tests.seeds import KNOWN, REQUIRED, SECTIONS, marked

CONFTEST = """
from tests.seeds import SeedLedger

def pytest_configure(config):
    config.addinivalue_line("markers", "seed(*ids): claims")
    config.pluginmanager.register(SeedLedger(["G1", "G2"]))
"""

# Foreign plugins would only make these small runs slow to start.
ENV = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

CLAIMS_G1 = '@pytest.mark.seed("G1")\ndef test_one(): pass\n'
CLAIMS_G2 = '@pytest.mark.seed("G2")\ndef test_two(): pass\n'
BAD_TEARDOWN = "@pytest.fixture\ndef bad():\n    yield\n    assert False\n"


def run_suite(folder: Path, body: str, *args: str, expect: int) -> str:
    """The output of pytest on a small suite that requires G1 and G2."""
    tests = folder / "tests"
    tests.mkdir(exist_ok=True)
    (folder / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n")
    (folder / "conftest.py").write_text(CONFTEST)
    (tests / "test_it.py").write_text(f"import pytest\n{body}")
    argv = ["-m", "pytest", "-p", "no:cacheprovider", "-q", *args]
    return run_child(argv, cwd=folder, env=ENV, expect=expect).stdout.decode()


def test_no_mark_names_an_unknown_item(request: pytest.FixtureRequest):
    unknown = {
        f"{seed} in {item.nodeid}"
        for item in request.session.items
        for seed in marked(item)
        if seed not in KNOWN
    }
    assert unknown == set()


def test_every_mark_names_an_item(request: pytest.FixtureRequest):
    empty = [i.nodeid for i in request.session.items for mark in i.iter_markers("seed") if not mark.args]
    assert empty == []


def test_items_are_known_once_and_required_ones_are_known():
    assert len(KNOWN) == len(set(KNOWN)) == sum(count for _, count in SECTIONS.values()) + 1
    assert len(REQUIRED) == len(set(REQUIRED))
    assert set(REQUIRED) <= set(KNOWN)


def test_a_run_in_which_every_required_item_is_claimed_passes(tmp_path: Path):
    assert "unclaimed" not in run_suite(tmp_path, CLAIMS_G1 + CLAIMS_G2, expect=0)


def test_an_unclaimed_item_fails_the_run_and_is_named(tmp_path: Path):
    output = run_suite(tmp_path, CLAIMS_G1, expect=1)
    assert "no test that ran and passed claims G2" in output


@pytest.mark.parametrize(
    "second",
    [
        '@pytest.mark.seed("G2")\n@pytest.mark.skip(reason="no")\ndef test_two(): pass\n',
        '@pytest.mark.seed("G2")\ndef test_two(): pytest.skip("no")\n',
        '@pytest.mark.seed("G2")\n@pytest.mark.xfail\ndef test_two(): assert False\n',
        '@pytest.mark.seed("G2")\ndef test_two(): assert False\n',
        f'{BAD_TEARDOWN}@pytest.mark.usefixtures("bad")\n{CLAIMS_G2}',
    ],
    ids=["skipped by mark", "skipped inside", "expected to fail", "failed", "failed at teardown"],
)
def test_the_claim_of_a_test_that_did_not_pass_does_not_count(tmp_path: Path, second: str):
    output = run_suite(tmp_path, CLAIMS_G1 + second, expect=1)
    assert "claims G2" in output


@pytest.mark.parametrize(
    "args",
    [["-k", "one"], ["tests/test_it.py"], ["tests/test_it.py::test_one"], ["--deselect", "tests/x.py"]],
    ids=["by name", "by file", "by test", "by deselection"],
)
def test_a_run_of_a_part_is_not_asked_for_the_rest(tmp_path: Path, args: list[str]):
    assert "unclaimed" not in run_suite(tmp_path, CLAIMS_G1, *args, expect=0)


def test_a_run_without_tests_that_claim_nothing_is_still_a_whole_run(tmp_path: Path):
    idle = tmp_path / "tests" / "idle"
    idle.mkdir(parents=True)
    (idle / "test_idle.py").write_text("def test_nothing(): assert False\n")
    said = run_suite(tmp_path, CLAIMS_G1, "--ignore=tests/idle", expect=1)
    assert "claims G2" in said


def test_a_run_without_tests_that_claim_something_is_not(tmp_path: Path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_two.py").write_text(f"import pytest\n{CLAIMS_G2}")
    assert "unclaimed" not in run_suite(tmp_path, CLAIMS_G1, "--ignore=tests/test_two.py", expect=0)


def test_naming_the_folder_of_all_tests_is_still_a_whole_run(tmp_path: Path):
    assert "claims G2" in run_suite(tmp_path, CLAIMS_G1, "tests", expect=1)
