"""wasi:filesystem from a guest: what it is granted, names, links, listings, and what is known of files."""

import errno
import os
import stat

import pytest

import coop
from coop.errors import LimitExceeded
from coop.fs import Stat
from coop.fs.hostfile import HostDescriptor
from coop.wasip2 import Guest
from coop.wasip2.filesystem.modes import metadata_hash
from tests.wasip2.places import NAMES, PRELUDE


def test_each_directory_comes_under_its_name(place):
    spare = coop.MemDir({"here": b""}, guest="/spare place")
    found = place.run(
        "result = [(name, len(listed(each))) for each, name in preopens.get_directories()]", dirs=(spare,)
    )
    assert found == [("/", len(NAMES)), ("/spare place", 1)]


def test_no_directory_is_granted_by_default(python):
    assert python(lambda run: run("result = preopens.get_directories()")) == []


def test_directories_are_given_anew_however_often_they_are_asked_for(place):
    code = """
for _ in range(3):
    with preopens.get_directories()[0][0] as again:
        assert again.is_same_object(root)
result = listed(root) != []
"""
    assert place.run(code) is True


def test_two_directories_of_one_name_are_refused(component):
    with pytest.raises(ValueError, match="two directories have the guest name '/'"):
        Guest(component, dirs=[coop.MemDir(), coop.MemDir()])


def test_a_name_that_is_no_text_is_refused(component):
    with pytest.raises(ValueError, match="which is no text"):
        Guest(component, dirs=[coop.MemDir(guest="\udcff")])


def test_a_directory_that_is_not_there_keeps_the_guest_from_starting(python, tmp_path):
    with pytest.raises(FileNotFoundError):
        python(lambda run: run("pass"), dirs=[tmp_path, tmp_path / "none"])


def test_more_directories_than_files_allowed_keep_the_guest_from_starting(python, tmp_path):
    grants = [coop.Dir(tmp_path, str(i)) for i in range(3)]
    with pytest.raises(LimitExceeded, match="more than 2 directories"):
        python(lambda run: run("pass"), dirs=grants, limits=coop.Limits(fds=2))


def test_what_a_guest_leaves_open_is_closed_with_it(host_place):
    before = len(os.listdir("/proc/self/fd"))
    host_place.run("""
kept = [opened("f"), opened("dir", R), opened("f").read_via_stream(0), root.read_directory()]
kept.append(opened("f").append_via_stream())
""")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_directory_says_whether_it_may_be_changed(place):
    code = "result = flags_of(root.get_flags()), flags_of(opened('dir', R).get_flags())"
    assert place.run(code) == (["mutate-directory", "read"],) * 2
    assert place.run(code, read_only=True) == (["read"],) * 2


def test_a_directory_opened_for_reading_may_be_changed_as_the_one_above_it(place):
    code = "result = [tried(lambda: opened('dir', R).create_directory_at('new'))]"
    assert place.run(code, read_only=True) == ["read-only"]
    assert place.run(code) == ["ok"]
    assert place.names(b"dir") == ["g", "new", "sub"]


def test_only_what_may_be_changed_is_opened_for_changes(place):
    asked = ("opened('dir', MUTATE)", "opened('.', R | MUTATE)", "opened('f', R)")
    assert place.ask(*asked) == ["ok"] * 3
    assert place.ask(*asked, read_only=True) == ["read-only", "read-only", "ok"]


def test_a_listing_has_every_name_once_and_no_dots(place):
    found = dict(place.run("result = listed(root)"))
    assert sorted(found) == NAMES
    assert (found["f"], found["dir"], found["loop"]) == ("regular-file", "directory", "symbolic-link")
    assert place.run("result = listed(opened('empty', R))") == []


def test_a_long_listing_is_whole(place):
    code = """
for i in range(500):
    opened("empty/" + "n" * 40 + str(i), W, O.CREATE)
result = len(set(listed(opened("empty", R))))
"""
    assert place.run(code) == 500


def test_two_listings_of_one_directory_do_not_disturb_each_other(place):
    code = """
one, other = root.read_directory(), root.read_directory()
first = [each.read_directory_entry().name for each in (one, other) * 5]
result = first[::2] == first[1::2], len(set(first))
"""
    assert place.run(code) == (True, 5)


def test_a_listing_goes_on_when_its_directory_is_dropped(place):
    code = """
with opened("dir", R) as below:
    entries = below.read_directory()
result = sorted(entries.read_directory_entry().name for _ in range(2)), entries.read_directory_entry()
"""
    assert place.run(code) == (["g", "sub"], None)


def test_the_end_of_a_listing_stays_the_end(place):
    code = """
entries = opened("empty", R).read_directory()
result = [entries.read_directory_entry() for _ in range(3)]
"""
    assert place.run(code) == [None] * 3


def test_names_are_made_moved_and_removed(place):
    answers = place.ask(
        "root.create_directory_at('new')",
        "root.rename_at('f', opened('new', R), 'moved')",
        "root.link_at(STAY, 'new/moved', root, 'again')",
        "root.unlink_file_at('new/moved')",
        "root.remove_directory_at('new')",
        "root.symlink_at('again', 'link')",
        "root.readlink_at('link')",
        "root.unlink_file_at('to_f')",
    )
    assert answers == ["ok"] * 6 + ["again", "ok"]
    assert place.read(b"link") == b"inside"
    assert place.names() == sorted({*NAMES, "again", "link"} - {"f", "to_f"})


def test_a_rename_goes_over_what_is_there(place):
    assert place.ask("root.rename_at('f', root, 'full/x')", "root.rename_at('dir', root, 'empty')") == [
        "ok",
        "ok",
    ]
    assert (place.read(b"full/x"), place.names(b"empty")) == (b"inside", ["g", "sub"])


def test_a_link_to_a_link_is_of_the_link_or_of_what_it_leads_to(place):
    code = """
root.link_at(STAY, "to_f", root, "a")
root.link_at(FOLLOW, "to_f", root, "b")
result = [named(root.stat_at(STAY, each).type) for each in "ab"], root.stat_at(STAY, "f").link_count
"""
    assert place.run(code) == (["symbolic-link", "regular-file"], 2)


def test_what_is_known_of_files_is_told(place):
    code = """
def told(found):
    return named(found.type), found.link_count, found.size
result = [told(opened("f").stat()), told(root.stat_at(STAY, "to_f")), told(root.stat_at(FOLLOW, "to_f")),
    told(root.stat_at(STAY, "dir"))[:1], named(opened("dir", R).get_type()), named(opened("f").get_type())]
"""
    assert place.run(code) == [
        ("regular-file", 1, 6),
        ("symbolic-link", 1, 1),
        ("regular-file", 1, 6),
        ("directory",),
        "directory",
        "regular-file",
    ]


TIMES = """
def times(found):
    each = found.data_access_timestamp, found.data_modification_timestamp
    return [(time.seconds, time.nanoseconds) for time in each]
"""


def test_times_are_set_and_told_to_the_nanosecond(place):
    code = """
f, below = opened("f"), opened("dir", R)
f.set_times(at(1, 2), at(3, 999_999_999))
below.set_times(at(5), UNCHANGED)
root.set_times_at(FOLLOW, "dir/g", UNCHANGED, at(6, 7))
result = times(f.stat()), times(below.stat())[0], times(root.stat_at(STAY, "dir/g"))[1]
"""
    assert place.run(TIMES + code) == ([(1, 2), (3, 999_999_999)], (5, 0), (6, 7))


def test_a_time_is_left_alone_or_becomes_now(place):
    code = """
f = opened("f")
f.set_times(at(1), at(2))
f.set_times(UNCHANGED, NOW)
now = wall_clock.now().seconds
result = times(f.stat())[0], 0 <= now - times(f.stat())[1][0] < 60
"""
    assert place.run(TIMES + code) == ((1, 0), True)


def test_the_times_of_a_link_are_its_own_unless_it_is_followed(place):
    code = """
root.set_times_at(STAY, "to_f", at(1), at(2))
root.set_times_at(FOLLOW, "to_f", at(3), at(4))
result = times(root.stat_at(STAY, "to_f"))[1], times(root.stat_at(STAY, "f"))[1]
"""
    assert place.run(TIMES + code) == ((2, 0), (4, 0))


def test_nanoseconds_of_more_than_a_second_count_on(place):
    code = "f = opened('f'); f.set_times(at(1, 2_500_000_000), UNCHANGED); result = times(f.stat())[0]"
    assert place.run(TIMES + code) == (3, 500_000_000)


def test_a_time_that_no_file_has_is_refused(place):
    far = "at((1 << 64) - 1)"
    assert place.ask(f"opened('f').set_times(UNCHANGED, {far})") == ["overflow"]
    assert place.ask(f"root.set_times_at(STAY, 'f', {far}, UNCHANGED)") == ["overflow"]


SAME = """
def hashes(each):
    found = each.metadata_hash()
    return found.lower, found.upper
def hash_at(path, follow=STAY):
    found = root.metadata_hash_at(follow, path)
    return found.lower, found.upper
"""


def test_one_file_is_the_same_under_all_its_names(place):
    code = """
root.link_at(STAY, "f", root, "again")
f, again, other = opened("f"), opened("again", R), opened("dir/g")
assert (f.is_same_object(again), f.is_same_object(other), root.is_same_object(f)) == (True, False, False)
assert hashes(f) == hashes(again) == hash_at("f") == hash_at("to_f", FOLLOW)
result = len({hashes(f), hashes(other), hashes(root), hash_at("to_f"), hash_at("dir")})
"""
    assert place.run(SAME + code) == 5


def test_a_hash_stays_when_a_file_is_written_and_for_the_next_guest(place):
    code = """
f = opened("f")
before = hashes(f)
f.write(b"longer than before", 0)
result = (before, hashes(f))
"""
    before, after = place.run(SAME + code)
    assert before == after == place.run(SAME + "result = hash_at('f')")
    assert all(0 < each < 1 << 64 for each in before)


def test_the_hash_of_a_hosts_file_is_the_same_in_every_process():
    """Programs keep inode numbers, and compare them when they run again."""
    found = Stat(1, 2, stat.S_IFREG, 1, 5, 0, 0, 0)
    kept = metadata_hash(found, in_memory=False)
    assert kept == (3437931087588335093, 10072035040303768698)
    assert metadata_hash(found._replace(size=6, mtime_ns=7, nlink=2), in_memory=False) == kept
    assert (
        len({metadata_hash(found, in_memory=True), metadata_hash(found._replace(ino=3), in_memory=True)}) == 2
    )
    assert metadata_hash(found, in_memory=True) != kept


def test_files_of_two_file_systems_are_never_the_same(place):
    code = """
other = preopens.get_directories()[1][0]
result = root.is_same_object(other), hashes(root) == hashes(other)
"""
    assert place.run(SAME + code, dirs=(coop.MemDir(guest="/other"),)) == (False, False)


def test_every_kind_of_file_has_its_name(host_place):
    root = host_place.root
    os.mkfifo(root / "fifo")
    found = dict(host_place.run("result = listed(root)"))
    assert found["fifo"] == "fifo"
    told = host_place.ask("named(root.stat_at(STAY, 'fifo').type)", "named(opened('fifo').get_type())")
    assert told == ["fifo", "fifo"]


def test_a_device_is_one(python):
    code = """
null = opened("null")
result = named(null.get_type()), named(null.stat().type), null.is_same_object(opened("null", R))
"""
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    kind = "character-device"
    assert python(lambda run: run(PRELUDE + code), dirs=["/dev"]) == (kind, kind, True)


def test_a_host_that_cannot_tell_files_apart_says_they_are_not_the_same(host_place, monkeypatch):
    """What an open file is, a local disk always knows; so the error is made up."""

    def refuse(self):
        raise OSError(errno.EIO, "gone")

    monkeypatch.setattr(HostDescriptor, "stat", refuse)
    assert host_place.ask("root.is_same_object(root)", "root.stat()", "root.metadata_hash()") == [
        False,
        "io",
        "io",
    ]


def test_only_so_many_files_are_open_at_a_time(place):
    code = """
kept = [opened("f") for _ in range(3)]
full = [tried(lambda: opened("f")), tried(lambda: opened("new", W, O.CREATE))]
with kept.pop():
    pass
result = full, tried(lambda: opened("f")), named(root.stat_at(STAY, "f").type)
"""
    limits = coop.Limits(fds=4)
    refused = ["insufficient-memory"] * 2
    assert place.run(code, limits=limits) == (refused, "ok", "regular-file")
    assert place.names() == NAMES


def test_a_stream_keeps_its_file_among_the_open_ones(place):
    code = """
with opened("f") as f:
    stream = f.read_via_stream(0)
full = tried(lambda: opened("f"))
with stream:
    pass
result = full, tried(lambda: opened("f"))
"""
    assert place.run(code, limits=coop.Limits(fds=2)) == ("insufficient-memory", "ok")


def test_files_may_be_opened_and_closed_for_ever(place):
    code = """
for _ in range(300):
    with opened("f", R):
        pass
result = True
"""
    assert place.run(code, limits=coop.Limits(fds=3)) is True
