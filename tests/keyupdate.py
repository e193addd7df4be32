"""A TLS client that has keys changed as often as it likes, which the `ssl` module cannot be told to do.

It is made of the very library that `ssl` has been built with.
"""

import _ssl
import ctypes
import socket

import pytest

__all__ = ["Client"]

_KEY_UPDATE_NOT_REQUESTED, _KEY_UPDATE_REQUESTED = 0, 1
_TYPES = {
    "TLS_client_method": (ctypes.c_void_p, ()),
    "SSL_CTX_new": (ctypes.c_void_p, (ctypes.c_void_p,)),
    "SSL_CTX_free": (None, (ctypes.c_void_p,)),
    "SSL_new": (ctypes.c_void_p, (ctypes.c_void_p,)),
    "SSL_free": (None, (ctypes.c_void_p,)),
    "SSL_set_fd": (ctypes.c_int, (ctypes.c_void_p, ctypes.c_int)),
    "SSL_connect": (ctypes.c_int, (ctypes.c_void_p,)),
    "SSL_do_handshake": (ctypes.c_int, (ctypes.c_void_p,)),
    "SSL_key_update": (ctypes.c_int, (ctypes.c_void_p, ctypes.c_int)),
    "SSL_write": (ctypes.c_int, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int)),
}


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_ssl.__file__)
        for name, (found, takes) in _TYPES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = found, takes
    except (AttributeError, OSError):
        pytest.skip("the TLS library of this Python cannot be reached")
    return library


class Client:
    """The client's end, for a thread: every call blocks."""

    def __init__(self, sock: socket.socket) -> None:
        self._library = _library()
        self._context = self._library.SSL_CTX_new(self._library.TLS_client_method())
        self._tls = self._library.SSL_new(self._context)
        self._library.SSL_set_fd(self._tls, sock.fileno())
        self._check(self._library.SSL_connect(self._tls))

    def update_keys(self, *, asks: bool) -> None:
        """Go on with another key; `asks`: have the peer do so too, and say so."""
        kind = _KEY_UPDATE_REQUESTED if asks else _KEY_UPDATE_NOT_REQUESTED
        self._check(self._library.SSL_key_update(self._tls, kind))
        self._check(self._library.SSL_do_handshake(self._tls))

    def write(self, data: bytes) -> None:
        """Send `data`."""
        self._check(self._library.SSL_write(self._tls, data, len(data)))

    def free(self) -> None:
        """Give back what the library has of it."""
        self._library.SSL_free(self._tls)
        self._library.SSL_CTX_free(self._context)

    def _check(self, result: int) -> None:
        if result <= 0:
            raise ConnectionError("the TLS connection has failed")
