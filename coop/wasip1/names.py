"""Names: making, moving and removing them, and the links between them.

A link at the end of a path is never followed here: what these calls work on is the
name itself.
"""

import stat

from coop.wasip1.abi import U32, Rights
from coop.wasip1.errno import Errno
from coop.wasip1.paths import open_directory
from coop.wasip1.state import Wasi


def path_create_directory(wasi: Wasi, fd: int, path: int, length: int) -> int:
    """Make a directory, with the mode 0777 less the host's umask.

    Errno: BADF no such descriptor; NOTDIR `fd` or a component is no directory; PERM the path leaves the
    directory; EXIST the name is taken; NOENT a component is missing; LOOP too many links; NAMETOOLONG a
    name over 255 bytes, or a path over 4095; ILSEQ not UTF-8; INVAL a NUL byte; ACCES the host refuses;
    NOTCAPABLE no right to make directories; ROFS below a read-only directory; MLINK too many directories
    in one; NOSPC the disk is full; DQUOT a quota is; FAULT an address outside memory.
    """
    _, directory = open_directory(wasi, fd, Rights.PATH_CREATE_DIRECTORY)
    directory.make_directory(wasi.text(path, length))
    return 0


def path_remove_directory(wasi: Wasi, fd: int, path: int, length: int) -> int:
    """Remove an empty directory.

    Errno: BADF no such descriptor; NOTDIR `fd`, a component or what is named is no directory, be it a link
    to one; PERM the path leaves the directory; NOTEMPTY there is something in it; NOENT there is no such
    name; INVAL the path ends in `.`, or has a NUL byte; BUSY something is mounted there; LOOP too many
    links; NAMETOOLONG a name over 255 bytes, or a path over 4095; ILSEQ not UTF-8; ACCES the host refuses;
    NOTCAPABLE no right to remove directories; ROFS below a read-only directory; FAULT an address outside
    memory.
    """
    _, directory = open_directory(wasi, fd, Rights.PATH_REMOVE_DIRECTORY)
    name = wasi.text(path, length)
    if wasi.done or directory.is_large(name, stat.S_IFDIR, follow=False):
        return wasi.in_thread(lambda: directory.apart(lambda own: own.remove_directory(name)))
    directory.remove_directory(name)
    return 0


def path_unlink_file(wasi: Wasi, fd: int, path: int, length: int) -> int:
    """Remove a name that is no directory's; a file that is open lives on until it is closed.

    Errno: BADF no such descriptor; NOTDIR `fd` or a component is no directory, or a slash follows what is
    none; ISDIR what is named is a directory, or a slash follows a link to one; PERM the path leaves the
    directory; NOENT there is no such name; BUSY something is mounted there; LOOP too many links;
    NAMETOOLONG a name over 255 bytes, or a path over 4095; ILSEQ not UTF-8; INVAL a NUL byte; ACCES the
    host refuses; NOTCAPABLE no right to unlink; ROFS below a read-only directory; FAULT an address outside
    memory.
    """
    _, directory = open_directory(wasi, fd, Rights.PATH_UNLINK_FILE)
    directory.unlink(wasi.text(path, length))
    return 0


def path_rename(wasi: Wasi, fd: int, path: int, length: int, new_fd: int, new: int, new_length: int) -> int:
    """Rename `path` below `fd` to `new` below `new_fd`, over a file or an empty directory that is there.

    Errno: BADF no such descriptor; NOTDIR `fd`, `new_fd` or a component is no directory, a directory would
    go over a file, or a slash follows the name of what is none; ISDIR a file would go over a directory;
    NOTEMPTY the directory that is there is not empty; PERM a path leaves its directory; NOENT there is no
    such name; INVAL a directory would go into itself, or a NUL byte; BUSY the name is `.`, or something is
    mounted there; XDEV two file systems; LOOP too many links; NAMETOOLONG a name over 255 bytes, or a path
    over 4095; ILSEQ not UTF-8; ACCES the host refuses; NOTCAPABLE no right to rename from, or to rename
    to; ROFS from or to a read-only directory; MLINK too many directories in one; NOSPC the disk is full;
    DQUOT a quota is; FAULT an address outside memory.
    """
    _, source = open_directory(wasi, fd, Rights.PATH_RENAME_SOURCE)
    _, target = open_directory(wasi, new_fd, Rights.PATH_RENAME_TARGET)
    old_name, new_name = wasi.text(path, length), wasi.text(new, new_length)
    if wasi.done or target.is_large(new_name, stat.S_IFDIR, follow=False):
        return wasi.in_thread(
            lambda: source.apart(lambda own: target.apart(lambda to: own.rename(old_name, to, new_name)))
        )
    source.rename(old_name, target, new_name)
    return 0


def path_link(
    wasi: Wasi, fd: int, lookup: int, path: int, length: int, new_fd: int, new: int, new_length: int
) -> int:
    """Make `new` below `new_fd` another name of the file `path` below `fd`, or of the link if it is one.

    lookup -- nothing: natively, too, a link cannot be followed here
    Errno: BADF no such descriptor; NOTDIR `fd`, `new_fd` or a component is no directory, or a slash
    follows what is none; PERM a path leaves its directory, or `path` is a directory; EXIST `new` is
    taken; NOENT there is no such name; INVAL any flag, or a NUL byte; XDEV two file systems; MLINK too
    many names; LOOP too many links; NAMETOOLONG a name over 255 bytes, or a path over 4095; ILSEQ not
    UTF-8; ACCES the host refuses; NOTCAPABLE no right to link from, or to link to; ROFS from or to a
    read-only directory; NOSPC the disk is full; DQUOT a quota is; FAULT an address outside memory.
    """
    _, source = open_directory(wasi, fd, Rights.PATH_LINK_SOURCE)
    _, target = open_directory(wasi, new_fd, Rights.PATH_LINK_TARGET)
    old_name, new_name = wasi.text(path, length), wasi.text(new, new_length)
    if lookup:
        return int(Errno.INVAL)
    source.link(old_name, target, new_name, follow=False)
    return 0


def path_symlink(wasi: Wasi, target: int, target_length: int, fd: int, path: int, length: int) -> int:
    """Make `path` below `fd` a link to `target`, which need not exist and may lead where no guest follows.

    Errno: BADF no such descriptor; NOTDIR `fd` or a component is no directory, or a slash follows what is
    none; PERM the path leaves the directory, or the target is absolute; EXIST the name is taken; NOENT a
    component is missing, or a text is empty; LOOP too many links; NAMETOOLONG a name over 255 bytes, or a
    text over 4095; ILSEQ not UTF-8; INVAL a NUL byte; ACCES the host refuses; NOTCAPABLE no right to make
    links; ROFS below a read-only directory; NOSPC the disk is full; DQUOT a quota is; FAULT an address
    outside memory.
    """
    _, directory = open_directory(wasi, fd, Rights.PATH_SYMLINK)
    directory.symlink(wasi.text(target, target_length), wasi.text(path, length))
    return 0


def path_readlink(wasi: Wasi, fd: int, path: int, length: int, buffer: int, size: int, used: int) -> int:
    """Store the target of a link at `buffer`, cut to `size` bytes, and how many those are at `used`.

    Errno: BADF no such descriptor; NOTDIR `fd` or a component is no directory; PERM the path leaves the
    directory, or the target is absolute; INVAL what is named is no link, or a NUL byte; NOENT there is
    no such name; LOOP too many links; NAMETOOLONG a name over 255 bytes, or a path over 4095; ILSEQ the
    path or the target is not UTF-8; ACCES the host refuses; NOTCAPABLE no right to read links; FAULT an
    address outside memory.
    """
    _, directory = open_directory(wasi, fd, Rights.PATH_READLINK)
    memory = wasi.memory
    memory.check(used, 4)
    memory.check(buffer, size)
    target = directory.read_link(wasi.text(path, length))[:size]
    memory.write(buffer, target)
    memory.pack(U32, used, len(target))
    return 0
