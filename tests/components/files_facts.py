"""States facts of wasi:filesystem, one a line: the group, what was done, and what came of it.

Each group named on the command line works in a directory of its own below the first one that is granted.
"""

import os
import pathlib
import shutil
import sys

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import preopens, streams, types, wall_clock

F, How, P = types.DescriptorFlags, types.OpenFlags, types.PathFlags
FOLLOW, STAY, NOTHING = P.SYMLINK_FOLLOW, P(0), How(0)
R, W, RW, MUTATE = F.READ, F.WRITE, F.READ | F.WRITE, F.MUTATE_DIRECTORY
UNCHANGED, NOW = types.NewTimestamp_NoChange(), types.NewTimestamp_Now()
FAR = 1 << 63


def top():
    """Return the first directory that is granted; nothing can be asked for before the program runs."""
    return preopens.get_directories()[0][0]


class Group:
    """One group of facts: its name, its directory, and its path."""

    def __init__(self, name):
        self.name, self.path = name, f"/{name}"
        root = top()
        root.create_directory_at(name)
        self.here = root.open_at(STAY, name, How.DIRECTORY, R)

    def say(self, what, act):
        print(f"{self.name}: {what}: {answer(act)}")

    def file(self, path, data=b"", flags=RW):
        with self.here.open_at(STAY, path, How.CREATE, W) as made:
            made.write(data, 0)
        return self.open(path, flags)

    def open(self, path, flags=RW, how=NOTHING, follow=FOLLOW):
        return self.here.open_at(follow, path, how, flags)

    def make(self, *paths):
        for path in paths:
            self.here.create_directory_at(path)


def answer(act):
    try:
        value = act()
    except Err as error:
        found = error.value
        if hasattr(found, "name"):
            return named(found)
        if isinstance(found, streams.StreamError_Closed):
            return "closed"
        return f"failed with {named(types.filesystem_error_code(found.value))}"
    except OSError as error:
        return type(error).__name__
    return "ok" if value is None or hasattr(value, "__exit__") else value


def named(value):
    return value.name.lower().replace("_", "-") if value is not None else "no code"


def flags_of(descriptor):
    return sorted(named(each) for each in descriptor.get_flags())


def at(seconds, nanoseconds=0):
    return types.NewTimestamp_Timestamp(wall_clock.Datetime(seconds, nanoseconds))


def listed(directory):
    found = []
    with directory.read_directory() as entries:
        while (entry := entries.read_directory_entry()) is not None:
            found.append((entry.name, named(entry.type)))
    return sorted(found)


def times(found):
    both = found.data_access_timestamp, found.data_modification_timestamp
    return [(time.seconds, time.nanoseconds) for time in both]


def granted(g):
    g.say("its name", lambda: [name for _, name in preopens.get_directories()])
    g.say("its flags", lambda: flags_of(top()))
    g.say("again", lambda: top().is_same_object(top()))
    g.say("its type", lambda: named(top().get_type()))


def opening(g):
    g.file("f", b"text")
    g.make("dir")
    g.here.symlink_at("f", "link")
    g.here.symlink_at("none", "dangling")
    for how in ("R", "W", "RW", "F(0)", "W | MUTATE", "R | MUTATE"):
        g.say(f"open a file {how}", lambda how=how: flags_of(g.open("f", eval(how))))
    g.say("create", lambda: flags_of(g.open("new", W, How.CREATE)))
    g.say("create for reading", lambda: flags_of(g.open("newer", R, How.CREATE)))
    g.say("create what is there", lambda: g.open("f", RW, How.CREATE).read(9, 0))
    g.say("create anew what is there", lambda: g.open("f", W, How.CREATE | How.EXCLUSIVE))
    g.say("create anew", lambda: g.open("newest", W, How.CREATE | How.EXCLUSIVE))
    g.say("exclusive alone", lambda: g.open("f", R, How.EXCLUSIVE))
    g.say("create through a link to nothing", lambda: g.open("dangling", W, How.CREATE | How.EXCLUSIVE))
    g.say("open what is not there", lambda: g.open("nothing"))
    g.say("open a link to nothing", lambda: g.open("dangling"))
    g.say("open a link", lambda: g.open("link").read(9, 0))
    g.say("open the link itself", lambda: g.open("link", R, NOTHING, STAY))
    g.say("open the link as a directory", lambda: g.open("link", R, How.DIRECTORY, STAY))
    g.say("open a file as a directory", lambda: g.open("f", R, How.DIRECTORY))
    g.say("open a directory", lambda: flags_of(g.open("dir", R)))
    g.say("open a directory to be changed", lambda: flags_of(g.open("dir", R | MUTATE, How.DIRECTORY)))
    g.say("open a directory for writing", lambda: g.open("dir", W))
    g.say("open it for writing as what it is", lambda: g.open("dir", RW, How.DIRECTORY))
    g.say("create over a directory", lambda: g.open("dir", R, How.CREATE))
    g.say("cut a directory", lambda: g.open("dir", R, How.TRUNCATE))
    g.say("create a directory so", lambda: g.open("more", R, How.DIRECTORY | How.CREATE))
    g.say("cut what must be a directory", lambda: g.open("dir", R, How.DIRECTORY | How.TRUNCATE))
    g.say("exclusive directory", lambda: g.open("dir", R, How.DIRECTORY | How.EXCLUSIVE))
    g.say("cut", lambda: g.open("f", W, How.TRUNCATE).stat().size)
    for flag in ("FILE_INTEGRITY_SYNC", "DATA_INTEGRITY_SYNC", "REQUESTED_WRITE_SYNC"):
        g.say(f"open with {flag}", lambda flag=flag: flags_of(g.open("f", W | F[flag])))


def bytes_(g):
    f = g.file("f", b"0123456789")
    g.say("read", lambda: f.read(4, 2))
    g.say("read up to the end", lambda: f.read(100, 5))
    g.say("read at the end", lambda: f.read(5, 10))
    g.say("read behind it", lambda: f.read(5, 99))
    g.say("read nothing at the end", lambda: f.read(0, 10))
    g.say("read nothing before it", lambda: f.read(0, 1))
    g.say("write", lambda: f.write(b"AB", 9))
    g.say("write behind the end", lambda: f.write(b"!", 13))
    g.say("what is there", lambda: f.read(99, 0))
    g.say("write nothing", lambda: f.write(b"", 0))
    g.say("cut", lambda: f.set_size(3))
    g.say("grow", lambda: f.set_size(5))
    g.say("what is there", lambda: f.read(99, 0))
    g.say("grow too much", lambda: f.set_size(FAR))
    g.say("read too far", lambda: f.read(1, FAR))
    g.say("write too far", lambda: f.write(b"x", FAR))
    only_read, only_write = g.open("f", R), g.open("f", W)
    g.say("read what is to be written", lambda: only_write.read(1, 0))
    g.say("write what is to be read", lambda: only_read.write(b"x", 0))
    g.say("cut what is to be read", lambda: only_read.set_size(0))
    g.say("advise", lambda: [answer(lambda a=a: f.advise(0, 4, a)) for a in types.Advice])
    g.say("advise too far", lambda: f.advise(FAR, FAR, types.Advice.NORMAL))
    g.say("sync", lambda: [answer(each) for each in (f.sync, f.sync_data, only_read.sync, g.here.sync)])


def moving(g):
    f = g.file("f", b"0123456789")
    one, two = f.read_via_stream(0), f.read_via_stream(5)
    g.say("two streams", lambda: (one.blocking_read(3), two.blocking_read(3), one.blocking_read(3)))
    g.say("skip", lambda: one.blocking_skip(2))
    g.say("the rest", lambda: one.blocking_read(99))
    g.say("the end", lambda: one.blocking_read(1))
    out = f.write_via_stream(2)
    out.blocking_write_and_flush(b"ab")
    out.blocking_write_and_flush(b"cd")
    out.blocking_write_zeroes_and_flush(1)
    g.say("written", lambda: f.read(99, 0))
    end = f.append_via_stream()
    f.set_size(12)
    end.blocking_write_and_flush(b"end")
    g.say("appended", lambda: f.read(99, 0))
    g.say("behind the end", lambda: f.read_via_stream(99).blocking_read(1))
    g.say("ready", lambda: [each.subscribe().ready() for each in (one, out)])
    g.say("read too far", lambda: f.read_via_stream(FAR).blocking_read(1))
    g.say("write too far", lambda: f.write_via_stream(FAR).blocking_write_and_flush(b"x"))
    with g.open("f") as again:
        kept = again.read_via_stream(1), again.append_via_stream()
    kept[1].blocking_write_and_flush(b"!")
    g.say("after the descriptor", lambda: kept[0].blocking_read(99))
    g.say("splice", lambda: g.file("copy").append_via_stream().blocking_splice(f.read_via_stream(0), 4))
    g.say("spliced", lambda: g.open("copy").read(99, 0))
    g.say("read what is to be written", lambda: g.open("f", W).read_via_stream(0))
    g.say("write what is to be read", lambda: g.open("f", R).write_via_stream(0))
    g.say("append to what is to be read", lambda: g.open("f", R).append_via_stream())


def listing(g):
    g.say("nothing", lambda: listed(g.here))
    for i in range(300):
        g.file(f"{i:0100}")
    found = g.here.read_directory()
    g.say("all", lambda: len(listed(g.here)))
    g.say("one after the other", lambda: found.read_directory_entry() is not None)
    with g.open(".", R) as again:
        kept = again.read_directory()
    g.say("after the descriptor", lambda: named(kept.read_directory_entry().type))
    g.make("more")
    g.open("more", R).symlink_at("x", "link")
    g.open("more", R).create_directory_at("dir")
    g.say("their types", lambda: listed(g.open("more", R)))
    ended = g.open("more/dir", R).read_directory()
    g.say("the end, twice", lambda: [ended.read_directory_entry() for _ in range(2)])


def knowing(g):
    f = g.file("f", b"text")
    g.make("dir")
    g.here.symlink_at("f", "link")
    for path in ("f", "dir", "link"):
        g.say(path, lambda path=path: named(g.here.stat_at(STAY, path).type))
    g.say("followed", lambda: named(g.here.stat_at(FOLLOW, "link").type))
    g.say("size", lambda: (f.stat().size, g.here.stat_at(STAY, "link").size))
    g.here.link_at(STAY, "f", g.here, "again")
    g.say("links", lambda: f.stat().link_count)
    g.say("type", lambda: (named(f.get_type()), named(g.open("dir", R).get_type())))
    g.say("the same", lambda: f.is_same_object(g.open("again", R)))
    g.say("another", lambda: f.is_same_object(g.open("dir", R)))
    g.say("the same hash", lambda: f.metadata_hash() == g.here.metadata_hash_at(STAY, "again"))
    g.say("followed hash", lambda: f.metadata_hash() == g.here.metadata_hash_at(FOLLOW, "link"))
    g.say("the link's hash", lambda: f.metadata_hash() == g.here.metadata_hash_at(STAY, "link"))
    before = f.metadata_hash()
    f.write(b"longer text", 0)
    g.say("the hash stays", lambda: f.metadata_hash() == before)
    f.set_times(at(1, 2), at(3, 4))
    g.say("times", lambda: times(f.stat()))
    f.set_times(UNCHANGED, at(5))
    g.say("one time", lambda: times(f.stat()))
    f.set_times(at(7), NOW)
    g.say("now", lambda: abs(f.stat().data_modification_timestamp.seconds - wall_clock.now().seconds) < 60)
    g.here.set_times_at(STAY, "link", at(8), at(9))
    g.here.set_times_at(FOLLOW, "link", at(10), at(11))
    g.say("the link's", lambda: times(g.here.stat_at(STAY, "link"))[1])
    g.say("the file's", lambda: times(f.stat())[1])
    g.say("of a directory", lambda: g.open("dir", R).set_times(at(12), at(13)))
    g.say("of a file to be read", lambda: g.open("f", R).set_times(at(14), at(15)))
    g.say("more than a second", lambda: (f.set_times(at(1, 2_500_000_000), UNCHANGED), times(f.stat())[0]))
    g.say("too late", lambda: f.set_times(UNCHANGED, at((1 << 64) - 1)))
    g.say("later than any disk", lambda: f.set_times(UNCHANGED, at(1 << 62)))


def naming(g):
    g.make("dir", "full", "full/sub", "empty")
    g.file("f", b"text")
    here = g.here
    here.symlink_at("dir", "to_dir")
    here.symlink_at("none", "dangling")
    g.say("make what is there", lambda: here.create_directory_at("f"))
    g.say("make over a link to nothing", lambda: here.create_directory_at("dangling"))
    g.say("make below nothing", lambda: here.create_directory_at("none/x"))
    g.say("unlink a directory", lambda: here.unlink_file_at("dir"))
    g.say("unlink nothing", lambda: here.unlink_file_at("none"))
    g.say("remove a file", lambda: here.remove_directory_at("f"))
    g.say("remove a link to a directory", lambda: here.remove_directory_at("to_dir"))
    g.say("remove what is full", lambda: here.remove_directory_at("full"))
    g.say("rename nothing", lambda: here.rename_at("none", here, "new"))
    g.say("rename onto a directory", lambda: here.rename_at("f", here, "dir"))
    g.say("rename a directory onto a file", lambda: here.rename_at("dir", here, "f"))
    g.say("rename onto what is full", lambda: here.rename_at("dir", here, "full"))
    g.say("rename onto what is empty", lambda: here.rename_at("dir", here, "empty"))
    g.say("rename into itself", lambda: here.rename_at("full", here, "full/sub/new"))
    g.say("rename to another directory", lambda: here.rename_at("f", g.open("full", R), "f"))
    g.say("link", lambda: here.link_at(STAY, "full/f", here, "g"))
    g.say("link over what is there", lambda: here.link_at(STAY, "g", here, "full"))
    g.say("link a directory", lambda: here.link_at(STAY, "full", here, "new"))
    g.say("link through a link", lambda: here.link_at(FOLLOW, "dangling", here, "new"))
    g.say("read a link", lambda: here.readlink_at("to_dir"))
    g.say("read no link", lambda: here.readlink_at("g"))
    g.say("link over a name", lambda: here.symlink_at("x", "g"))
    g.say("link to an absolute path", lambda: here.symlink_at("/x", "new"))
    g.say("link to outside", lambda: here.symlink_at("../../x", "out"))
    g.say("link to nothing at all", lambda: here.symlink_at("", "new"))
    g.say("rename a link", lambda: (here.rename_at("to_dir", here, "moved"), here.readlink_at("moved")))
    g.say("unlink a link", lambda: here.unlink_file_at("moved"))
    g.say("what is left", lambda: [name for name, _ in listed(here)])


def leaving(g):
    g.make("dir")
    g.file("f", b"text")
    g.here.symlink_at("..", "up")
    g.here.symlink_at("loop", "loop")
    paths = (
        "..",
        "../x",
        "dir/../../x",
        "/",
        "/f",
        "up",
        "up/x",
        "",
        "n" * 256,
        "f/x",
        "none/x",
        "loop",
        "f\0",
    )
    for path in paths:
        shown = ascii(path[:20])
        g.say(f"stat {shown}", lambda path=path: g.here.stat_at(FOLLOW, path))
        g.say(f"open {shown}", lambda path=path: g.open(path, R))
        g.say(f"create {shown}", lambda path=path: g.open(path, W, How.CREATE | How.EXCLUSIVE))
        g.say(f"make {shown}", lambda path=path: g.here.create_directory_at(path))
        g.say(f"rename to {shown}", lambda path=path: g.here.rename_at("dir", g.here, path))
        g.say(f"remove {shown}", lambda path=path: g.here.remove_directory_at(path))
    g.say("stat with dots", lambda: named(g.here.stat_at(STAY, "dir/.././f").type))


def slashes(g):
    g.make("dir")
    g.file("f")
    g.here.symlink_at("f", "to_f")
    g.here.symlink_at("dir", "to_dir")
    for path in ("dir/", "to_dir/", "f/", "to_f/", "none/"):
        g.say(f"stat {path}", lambda path=path: named(g.here.stat_at(STAY, path).type))
        g.say(f"open {path}", lambda path=path: g.open(path, R))
        g.say(f"read link {path}", lambda path=path: g.here.readlink_at(path))
        g.say(f"unlink {path}", lambda path=path: g.here.unlink_file_at(path))
    g.say("create", lambda: g.open("new/", W, How.CREATE))
    g.say("make", lambda: g.here.create_directory_at("made/"))
    g.say("remove", lambda: g.here.remove_directory_at("made/"))
    g.say("rename", lambda: g.here.rename_at("dir/", g.here, "moved/"))
    g.say("rename a file", lambda: g.here.rename_at("f", g.here, "g/"))


def mixing(g):
    f = g.file("f")
    g.say("read a directory", lambda: g.here.read(1, 0))
    g.say("write a directory", lambda: g.here.write(b"x", 0))
    g.say("stream of a directory", lambda: g.here.read_via_stream(0))
    g.say("stream to a directory", g.here.append_via_stream)
    g.say("advise on a directory", lambda: g.here.advise(0, 0, types.Advice.NORMAL))
    g.say("cut a directory", lambda: g.here.set_size(0))
    g.say("list a file", f.read_directory)
    g.say("open below a file", lambda: f.open_at(STAY, "x", NOTHING, R))
    g.say("stat below a file", lambda: f.stat_at(STAY, "x"))
    g.say("make below a file", lambda: f.create_directory_at("x"))
    g.say("rename below a file", lambda: g.here.rename_at("f", f, "x"))
    g.say("sync a directory", g.here.sync_data)


def python(g):
    """What a program that knows nothing of WASI does."""
    path = pathlib.Path(g.path)
    g.say("write", lambda: (path / "f").write_text("one\ntwo\n"))
    g.say("read", lambda: (path / "f").read_text().split())
    with open(path / "f", "r+b") as file:
        g.say("seek", lambda: (file.seek(-4, os.SEEK_END), file.read(), file.tell()))
        g.say("overwrite", lambda: (file.seek(0), file.write(b"ONE"), file.truncate(6)))
    with open(path / "f", "a") as file:
        g.say("append", lambda: file.write("end"))
    g.say("what is there", (path / "f").read_bytes)
    g.say("large", lambda: (path / "large").write_bytes(bytes(range(256)) * 4000))
    g.say("large again", lambda: (path / "large").read_bytes() == bytes(range(256)) * 4000)
    g.say("lines", lambda: list((path / "f").open()))
    g.say("no such file", (path / "none").open)
    g.say("exclusive", lambda: (path / "f").open("x"))
    g.say("a directory", path.open)
    g.say("make", lambda: os.makedirs(path / "a/b/c"))
    g.say("make again", lambda: os.mkdir(path / "a"))
    g.say("rename", lambda: os.rename(path / "f", path / "a/f"))
    g.say("list", lambda: sorted(os.listdir(path)))
    g.say("scan", lambda: sorted((entry.name, entry.is_dir()) for entry in os.scandir(path / "a")))
    g.say("stat", lambda: (os.stat(path / "a/f").st_size, os.stat(path / "a/f").st_nlink))
    g.say("same file", lambda: os.path.samefile(path / "a/f", path / "a/b/../f"))
    g.say("symlink", lambda: os.symlink("f", path / "a/link"))
    g.say("readlink", lambda: os.readlink(path / "a/link"))
    g.say("islink", (path / "a/link").is_symlink)
    g.say("link", lambda: os.link(path / "a/f", path / "a/g"))
    g.say("times", lambda: (os.utime(path / "a/f", ns=(10**9, 2 * 10**9)), os.stat(path / "a/f").st_mtime_ns))
    g.say("walk", lambda: sorted(top for top, _, _ in os.walk(path)))
    g.say("glob", lambda: sorted(each.name for each in path.rglob("*")))
    g.say("copy", lambda: shutil.copyfile(path / "large", path / "copy").stat().st_size)
    below = os.open(path / "a", os.O_RDONLY | os.O_DIRECTORY)
    g.say("make below an open directory", lambda: os.mkdir("new", dir_fd=below))
    g.say("unlink below it", lambda: os.unlink("g", dir_fd=below))
    g.say("sync it", lambda: os.fsync(below))
    os.close(below)
    g.say("remove what is full", lambda: os.rmdir(path / "a"))
    g.say("remove a tree", lambda: shutil.rmtree(path / "a"))
    g.say("unlink", lambda: os.unlink(path / "large"))
    g.say("what is left", lambda: sorted(os.listdir(path)))
    g.say("outside", lambda: os.listdir("/../.."))


GROUPS = {
    "granted": granted,
    "opening": opening,
    "bytes": bytes_,
    "moving": moving,
    "listing": listing,
    "knowing": knowing,
    "naming": naming,
    "leaving": leaving,
    "slashes": slashes,
    "mixing": mixing,
    "python": python,
}


class Run(exports.Run):
    def run(self) -> None:
        for name in sys.argv[1:]:
            GROUPS[name](Group(name))
