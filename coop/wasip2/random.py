"""wasi:random: bytes that nobody can foretell, and bytes of which nobody cares."""

import struct

from coop.errors import GuestTrap
from coop.wasip2.world import WorldInterface
from coop.wit import function

__all__ = ["INTERFACES"]

_PIECE = 256 << 10
"""Bytes that a source is asked for at once, as `RandomSource.fill` promises."""

_MOST = 4 << 20
"""Bytes that are given at a time, as many as the border takes of a `list<u8>`: on its way each takes 80 of
the host's memory, and a tenth of a microsecond, in which nobody else runs."""


class _Random(WorldInterface):
    """What the interfaces of randomness have in common: one source."""

    def _bytes(self, length: int) -> bytes:
        limit = self.world.limits.bytes_per_list
        most = _MOST if limit is None else min(limit, _MOST)
        if length > most:
            why = " (limit bytes_per_list)" if most == limit else ""
            raise GuestTrap(f"{length} random bytes were asked for; {most} are allowed{why}")
        buffer = bytearray(length)
        view = memoryview(buffer)
        for at in range(0, length, _PIECE):
            self.world.random.fill(view[at : at + _PIECE])
        return bytes(buffer)

    def _u64(self) -> int:
        return int.from_bytes(self._bytes(8), "little")


class Random(_Random):
    """wasi:random/random."""

    name = "wasi:random/random"

    @function("func(len: u64) -> list<u8>", parks=False)
    def get_random_bytes(self, length: int) -> bytes:
        """Return so many bytes, fit for secrets."""
        return self._bytes(length)

    @function("func() -> u64", parks=False)
    def get_random_u64(self) -> int:
        """Return 64 bits, fit for secrets."""
        return self._u64()


class Insecure(_Random):
    """wasi:random/insecure: the same source serves those who ask for less."""

    name = "wasi:random/insecure"

    @function("func(len: u64) -> list<u8>", parks=False)
    def get_insecure_random_bytes(self, length: int) -> bytes:
        """Return so many bytes."""
        return self._bytes(length)

    @function("func() -> u64", parks=False)
    def get_insecure_random_u64(self) -> int:
        """Return 64 bits."""
        return self._u64()


class InsecureSeed(_Random):
    """wasi:random/insecure-seed."""

    name = "wasi:random/insecure-seed"

    @function("func() -> tuple<u64, u64>", parks=False)
    def insecure_seed(self) -> tuple[int, int]:
        """Return 128 bits to begin a hash table's randomness with."""
        first, second = struct.unpack("<QQ", self._bytes(16))
        return first, second


INTERFACES: tuple[type[WorldInterface], ...] = (Random, Insecure, InsecureSeed)
