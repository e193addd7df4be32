"""wasi:random: bytes that nobody can foretell, and bytes of which nobody cares."""

import struct

from coop.wasip2.world import WorldInterface, trap
from coop.wit import function

__all__ = ["INTERFACES"]

_PIECE = 256 << 10


class _Random(WorldInterface):
    """What the interfaces of randomness have in common: one source."""

    def _bytes(self, length: int) -> bytes:
        limit = self.world.limits.bytes_per_list
        if limit is not None and length > limit:
            raise trap(f"{length} random bytes were asked for; {limit} are allowed (limit bytes_per_list)")
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
