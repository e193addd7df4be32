"""`coop wit`: the WIT of every interface, in the newest version or an older one."""

import re
from pathlib import Path

import pytest

from coop.cli.witfolder import MARK, VERSIONS
from coop.wasip2.worlds import VERSION, wit_files
from tests.children import ROOT
from tests.cli.guests import complaint, coop


def texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.wit")}


@pytest.mark.parametrize("args", [[], ["--wasi", VERSION]], ids=["unsaid", "said"])
def test_the_newest_version_is_written_unless_another_is_named(tmp_path, args):
    done = coop("wit", *args, str(tmp_path / "wit"))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", f"wrote {tmp_path / 'wit'}\n".encode())
    assert texts(tmp_path / "wit") == {name: MARK + text for name, text in wit_files().items()}


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


def test_the_newest_version_that_can_be_asked_for_is_the_newest_there_is():
    assert VERSIONS[-1] == VERSION


def test_what_it_wrote_it_writes_again(tmp_path):
    coop("wit", "--wasi", "0.2.3", str(tmp_path))
    coop("wit", str(tmp_path))
    assert f"@{VERSION}" in texts(tmp_path)["world.wit"]


@pytest.mark.parametrize("version", ["0.2.3", VERSION])
def test_what_was_written_before_there_was_a_mark_is_written_again(tmp_path, version):
    for name, text in wit_files(version).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    coop("wit", str(tmp_path))
    assert all(text.startswith(MARK) for text in texts(tmp_path).values())


@pytest.mark.parametrize("name", ["world.wit", "deps/wasi-http/package.wit"])
def test_a_file_of_the_user_stays_and_nothing_is_written(tmp_path, name):
    own = tmp_path / name
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text(wit_files()[name] + "// and a world of mine\n")
    before = texts(tmp_path)
    assert complaint(["wit", str(tmp_path)], 1) == (
        f"{own}: not written by coop wit, so it stays; move it, or name another folder"
    )
    assert texts(tmp_path) == before


def test_the_example_of_a_world_is_a_users_own(tmp_path):
    (tmp_path / "world.wit").write_text((ROOT / "examples" / "tcpecho" / "world.wit").read_text())
    assert "so it stays" in complaint(["wit", str(tmp_path)], 1)


def test_files_that_it_does_not_write_are_none_of_its_business(tmp_path):
    own = tmp_path / "deps" / "acme-bank" / "package.wit"
    own.parent.mkdir(parents=True)
    own.write_text("package acme:bank;")
    coop("wit", str(tmp_path))
    assert own.read_text() == "package acme:bank;"
