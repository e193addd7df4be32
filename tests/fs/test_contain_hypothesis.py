"""Paths and links made up by hypothesis: none leaves the tree, and the two resolvers agree on each."""

import errno
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coop.fs.contain import RESOLVE, Resolver, by_openat2, by_walk, open_beneath, parent_beneath

RESOLVERS = (None, by_openat2, by_walk) if RESOLVE is by_openat2 else (None, by_walk)
KINDS = (os.O_RDONLY, os.O_RDONLY | os.O_DIRECTORY, os.O_PATH, os.O_CREAT | os.O_EXCL | os.O_WRONLY)

names = st.sampled_from(["a", "b", "c", "l", "m", "n", ".", "..", "..", "", "root", "secret", "é"])
paths = st.lists(names, min_size=1, max_size=8).map("/".join)
noise = st.text(st.sampled_from("abl./\0\x7f\udcffé"), max_size=12)


@pytest.fixture(scope="module")
def outside():
    """A canary beside the tree `root`: files that a path out of it would find under likely names."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        for name in ("secret", "a", "l"):
            (top / name).write_bytes(b"outside")
        (top / "root" / "a" / "b" / "c").mkdir(parents=True)
        for file in ("b", "a/c", "a/b/a", "a/b/c/b"):
            (top / "root" / file).write_bytes(b"inside")
        yield top


def plant(root: Path, links: dict[str, str]) -> None:
    for place in ("l", "m", "n", "a/l", "a/b/m"):
        (root / place).unlink(missing_ok=True)
        if links.get(place):
            (root / place).symlink_to(links[place])


def outcome(
    root: Path, dirfd: int, path: bytes, flags: int, *, follow: bool, resolve: Resolver | None
) -> str:
    """Where an open led, or why it did not; what it created is removed."""
    try:
        fd = open_beneath(dirfd, path, flags, follow=follow, resolve=resolve)
    except OSError as error:
        return errno.errorcode[error.errno]
    real = os.readlink(f"/proc/self/fd/{fd}")
    os.close(fd)
    assert real == str(root) or real.startswith(f"{root}/")
    if flags & os.O_CREAT:
        os.unlink(real)
    return real


def links_to(targets: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(st.sampled_from(["l", "m", "n", "a/l", "a/b/m"]), targets)


@given(
    path=paths | noise,
    links=links_to(paths.filter(bool)),
    flags=st.sampled_from(KINDS),
    follow=st.booleans(),
)
def test_no_path_leaves_the_tree_and_the_resolvers_agree(outside, path, links, flags, follow):
    root = outside / "root"
    plant(root, links)
    dirfd = os.open(root, os.O_RDONLY)
    try:
        raw = path.encode(errors="surrogateescape")
        led = {outcome(root, dirfd, raw, flags, follow=follow, resolve=resolve) for resolve in RESOLVERS}
    finally:
        os.close(dirfd)
    assert len(led) == 1
    assert sorted(os.listdir(outside)) == ["a", "l", "root", "secret"]


@given(path=paths, links=links_to(paths.filter(bool)), follow=st.booleans())
def test_a_parent_is_inside_and_its_name_is_one_component(outside, path, links, follow):
    root = outside / "root"
    plant(root, links)
    dirfd = os.open(root, os.O_RDONLY)
    found = set()
    try:
        for resolve in RESOLVERS:
            try:
                with parent_beneath(dirfd, path.encode(), follow=follow, resolve=resolve) as parent:
                    found.add((os.readlink(f"/proc/self/fd/{parent.fd}"), parent.name, parent.slash))
            except OSError as error:
                found.add((errno.errorcode[error.errno], b"error", False))
    finally:
        os.close(dirfd)
    ((where, name, _),) = found
    assert name == b"error" or where == str(root) or where.startswith(f"{root}/")
    assert b"/" not in name
    assert name not in {b"..", b""}
