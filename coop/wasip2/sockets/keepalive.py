"""How a TCP connection finds out that nobody is there any more: the options for that."""

import socket

from coop.clock import SECOND_NS
from coop.wasip2.sockets.base import Socket
from coop.wasip2.sockets.network import coded
from coop.wit import function

__all__ = ["KeepAlive"]

_MOST_SECONDS = 32767
_MOST_COUNT = 127
"""The most that Linux takes."""


class KeepAlive(Socket):
    """The part of a TCP socket that is about connections on which nothing moves.

    Times are in nanoseconds; the kernel's are in seconds, and what is begun of one is one.
    """

    __slots__ = ()

    def _set_time(self, option: int, value: int) -> None:
        seconds = min(-(-value // SECOND_NS), _MOST_SECONDS)
        self.set(socket.IPPROTO_TCP, option, seconds)

    @function("func() -> result<bool, error-code>", parks=False)
    @coded
    def keep_alive_enabled(self) -> bool:
        """Return whether the peer is asked at all."""
        return self.get(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0

    @function("func(value: bool) -> result<_, error-code>", parks=False)
    @coded
    def set_keep_alive_enabled(self, value: bool) -> None:
        """Set whether the peer is asked at all."""
        self.check_usable()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, value)

    @function("func() -> result<duration, error-code>", parks=False)
    @coded
    def keep_alive_idle_time(self) -> int:
        """Return how long nothing moves before the peer is asked."""
        return self.get(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) * SECOND_NS

    @function("func(value: duration) -> result<_, error-code>", parks=False)
    @coded
    def set_keep_alive_idle_time(self, value: int) -> None:
        """Set how long nothing moves before the peer is asked."""
        self._set_time(socket.TCP_KEEPIDLE, value)

    @function("func() -> result<duration, error-code>", parks=False)
    @coded
    def keep_alive_interval(self) -> int:
        """Return how long an answer is waited for before the peer is asked again."""
        return self.get(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) * SECOND_NS

    @function("func(value: duration) -> result<_, error-code>", parks=False)
    @coded
    def set_keep_alive_interval(self, value: int) -> None:
        """Set how long an answer is waited for before the peer is asked again."""
        self._set_time(socket.TCP_KEEPINTVL, value)

    @function("func() -> result<u32, error-code>", parks=False)
    @coded
    def keep_alive_count(self) -> int:
        """Return how often the peer is asked before the connection is given up."""
        return self.get(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)

    @function("func(value: u32) -> result<_, error-code>", parks=False)
    @coded
    def set_keep_alive_count(self, value: int) -> None:
        """Set how often the peer is asked before the connection is given up."""
        self.set(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, min(value, _MOST_COUNT))
