"""The table of all 46 functions of `wasi_snapshot_preview1`, with their types.

Each function lists in its text what it is given and what it may answer.  Everywhere
`fd` is a descriptor, `out` where in the guest's memory the result goes, and `path`
with `length`, or `new` with `new_length`, a name: where its bytes are, and how many.
Besides, a host whose memory, descriptors or disk fail may answer NOMEM, MFILE, NFILE
or IO to any call that needs them.

Source: `wasi_snapshot_preview1.witx`.
"""

from collections.abc import Callable

from coop.engine import ImportTable, RawImport
from coop.wasip1 import dirents, fds, files, io, names, paths, poll, process, sock
from coop.wasip1.state import answer_to

MODULE = "wasi_snapshot_preview1"

_U32, _U64, _I64 = "u32", "u64", "i64"

_SIGNATURES: dict[str, tuple[str, ...]] = {
    "args_get": (_U32, _U32),
    "args_sizes_get": (_U32, _U32),
    "environ_get": (_U32, _U32),
    "environ_sizes_get": (_U32, _U32),
    "clock_res_get": (_U32, _U32),
    "clock_time_get": (_U32, _U64, _U32),
    "fd_advise": (_U32, _U64, _U64, _U32),
    "fd_allocate": (_U32, _U64, _U64),
    "fd_close": (_U32,),
    "fd_datasync": (_U32,),
    "fd_fdstat_get": (_U32, _U32),
    "fd_fdstat_set_flags": (_U32, _U32),
    "fd_fdstat_set_rights": (_U32, _U64, _U64),
    "fd_filestat_get": (_U32, _U32),
    "fd_filestat_set_size": (_U32, _U64),
    "fd_filestat_set_times": (_U32, _U64, _U64, _U32),
    "fd_pread": (_U32, _U32, _U32, _U64, _U32),
    "fd_prestat_get": (_U32, _U32),
    "fd_prestat_dir_name": (_U32, _U32, _U32),
    "fd_pwrite": (_U32, _U32, _U32, _U64, _U32),
    "fd_read": (_U32, _U32, _U32, _U32),
    "fd_readdir": (_U32, _U32, _U32, _U64, _U32),
    "fd_renumber": (_U32, _U32),
    "fd_seek": (_U32, _I64, _U32, _U32),
    "fd_sync": (_U32,),
    "fd_tell": (_U32, _U32),
    "fd_write": (_U32, _U32, _U32, _U32),
    "path_create_directory": (_U32, _U32, _U32),
    "path_filestat_get": (_U32, _U32, _U32, _U32, _U32),
    "path_filestat_set_times": (_U32, _U32, _U32, _U32, _U64, _U64, _U32),
    "path_link": (_U32, _U32, _U32, _U32, _U32, _U32, _U32),
    "path_open": (_U32, _U32, _U32, _U32, _U32, _U64, _U64, _U32, _U32),
    "path_readlink": (_U32, _U32, _U32, _U32, _U32, _U32),
    "path_remove_directory": (_U32, _U32, _U32),
    "path_rename": (_U32, _U32, _U32, _U32, _U32, _U32),
    "path_symlink": (_U32, _U32, _U32, _U32, _U32),
    "path_unlink_file": (_U32, _U32, _U32),
    "poll_oneoff": (_U32, _U32, _U32, _U32),
    "proc_exit": (_U32,),
    "proc_raise": (_U32,),
    "random_get": (_U32, _U32),
    "sched_yield": (),
    "sock_accept": (_U32, _U32, _U32),
    "sock_recv": (_U32, _U32, _U32, _U32, _U32, _U32),
    "sock_send": (_U32, _U32, _U32, _U32, _U32),
    "sock_shutdown": (_U32, _U32),
}

_PARKS = {
    *("fd_advise", "fd_allocate", "fd_datasync", "fd_filestat_set_size", "fd_filestat_set_times"),
    *("fd_pread", "fd_pwrite", "fd_read", "fd_readdir", "fd_sync", "fd_write"),
    *("path_open", "path_remove_directory", "path_rename"),
    *("poll_oneoff", "random_get", "sched_yield"),
    *("sock_accept", "sock_recv", "sock_send"),
}

_ROOMS = (dirents, fds, files, io, names, paths, poll, process, sock)


def _find(name: str) -> Callable[..., int | None]:
    (found,) = [getattr(room, name) for room in _ROOMS if hasattr(room, name)]
    call: Callable[..., int | None] = found
    return call


SNAPSHOT1 = ImportTable(
    MODULE,
    tuple(
        RawImport(name, params, () if name == "proc_exit" else ("i32",), _find(name), name in _PARKS)
        for name, params in _SIGNATURES.items()
    ),
    answer_to,
)
