"""`coop wit`: the WIT of every interface, in the newest version or an older one."""

import re
from pathlib import Path

import pytest

from coop.wasip2.worlds import VERSION, wit_files
from tests.cli.guests import coop


def texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.wit")}


@pytest.mark.parametrize("args", [[], ["--wasi", VERSION]], ids=["unsaid", "said"])
def test_the_newest_version_is_written_unless_another_is_named(tmp_path, args):
    done = coop("wit", *args, str(tmp_path / "wit"))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", f"wrote {tmp_path / 'wit'}\n".encode())
    assert texts(tmp_path / "wit") == wit_files()


def test_an_older_version_is_written_when_it_is_named(tmp_path):
    coop("wit", "--wasi", "0.2.3", str(tmp_path))
    found = texts(tmp_path)
    assert found.keys() == wit_files().keys()
    assert set(re.findall(r"@([\d.]+\d)", "".join(found.values()))) == {"0.2.3"}


@pytest.mark.parametrize("version", ["0.2.13", "0.3.0", "0.2"])
def test_a_version_that_is_not_there_is_bad_usage(tmp_path, version):
    done = coop("wit", "--wasi", version, str(tmp_path / "wit"), expect=2)
    assert version.encode() in done.stderr
    assert not (tmp_path / "wit").exists()
