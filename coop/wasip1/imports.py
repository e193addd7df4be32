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

_A, _L, _S = "u32", "u64", "i64"

_SIGNATURES: dict[str, tuple[str, ...]] = {
    "args_get": (_A, _A),
    "args_sizes_get": (_A, _A),
    "environ_get": (_A, _A),
    "environ_sizes_get": (_A, _A),
    "clock_res_get": (_A, _A),
    "clock_time_get": (_A, _L, _A),
    "fd_advise": (_A, _L, _L, _A),
    "fd_allocate": (_A, _L, _L),
    "fd_close": (_A,),
    "fd_datasync": (_A,),
    "fd_fdstat_get": (_A, _A),
    "fd_fdstat_set_flags": (_A, _A),
    "fd_fdstat_set_rights": (_A, _L, _L),
    "fd_filestat_get": (_A, _A),
    "fd_filestat_set_size": (_A, _L),
    "fd_filestat_set_times": (_A, _L, _L, _A),
    "fd_pread": (_A, _A, _A, _L, _A),
    "fd_prestat_get": (_A, _A),
    "fd_prestat_dir_name": (_A, _A, _A),
    "fd_pwrite": (_A, _A, _A, _L, _A),
    "fd_read": (_A, _A, _A, _A),
    "fd_readdir": (_A, _A, _A, _L, _A),
    "fd_renumber": (_A, _A),
    "fd_seek": (_A, _S, _A, _A),
    "fd_sync": (_A,),
    "fd_tell": (_A, _A),
    "fd_write": (_A, _A, _A, _A),
    "path_create_directory": (_A, _A, _A),
    "path_filestat_get": (_A, _A, _A, _A, _A),
    "path_filestat_set_times": (_A, _A, _A, _A, _L, _L, _A),
    "path_link": (_A, _A, _A, _A, _A, _A, _A),
    "path_open": (_A, _A, _A, _A, _A, _L, _L, _A, _A),
    "path_readlink": (_A, _A, _A, _A, _A, _A),
    "path_remove_directory": (_A, _A, _A),
    "path_rename": (_A, _A, _A, _A, _A, _A),
    "path_symlink": (_A, _A, _A, _A, _A),
    "path_unlink_file": (_A, _A, _A),
    "poll_oneoff": (_A, _A, _A, _A),
    "proc_exit": (_A,),
    "proc_raise": (_A,),
    "random_get": (_A, _A),
    "sched_yield": (),
    "sock_accept": (_A, _A, _A),
    "sock_recv": (_A, _A, _A, _A, _A, _A),
    "sock_send": (_A, _A, _A, _A, _A),
    "sock_shutdown": (_A, _A),
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
