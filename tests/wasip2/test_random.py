"""wasi:random from a guest: three interfaces, one source."""

import pytest

from coop.engine import Limits
from coop.errors import GuestTrap

BYTES = ("random.get_random_bytes", "insecure.get_insecure_random_bytes")


class Counting:
    """Fills with 0, 1, 2 and so on; `asked` has the length of each piece."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self._next = 0

    def fill(self, buffer: memoryview) -> None:
        for i in range(len(buffer)):
            buffer[i] = (self._next + i) & 0xFF
        self._next += len(buffer)
        self.asked.append(len(buffer))


@pytest.mark.parametrize("function", BYTES)
def test_so_many_bytes_come_as_were_asked_for(python, function):
    found = python(lambda run: run(f"result = [{function}(n) for n in (0, 1, 5)]"), random=Counting())
    # What CPython itself has asked for at its start came before.
    assert [len(each) for each in found] == [0, 1, 5]
    first = found[1][0]
    assert found[2] == bytes((first + i) & 0xFF for i in range(1, 6))


def test_numbers_are_made_of_the_source_s_bytes(python):
    source = Counting()
    found = python(
        lambda run: run("""
at = random.get_random_bytes(1)[0]
result = at, random.get_random_u64(), insecure.get_insecure_random_u64(), insecure_seed.insecure_seed()
"""),
        random=source,
    )
    at = found[0] + 1

    def number(skipped: int) -> int:
        return int.from_bytes(bytes((at + skipped + i) & 0xFF for i in range(8)), "little")

    assert found[1:] == (number(0), number(8), (number(16), number(24)))


def test_much_comes_in_pieces(python):
    source = Counting()
    found = python(lambda run: run("result = len(random.get_random_bytes(600_000))"), random=source)
    assert found == 600_000
    assert source.asked[-3:] == [256 << 10, 256 << 10, 600_000 - (512 << 10)]


@pytest.mark.parametrize("function", BYTES)
def test_more_than_a_list_may_hold_ends_the_guest_and_takes_no_memory(python, function):
    for length in (2**64 - 1, (4 << 20) + 1):
        with pytest.raises(GuestTrap, match=f"{length} random bytes were asked for; 4194304 are allowed"):
            python(lambda run, length=length: run(f"{function}({length})"))
    with pytest.raises(GuestTrap, match=r"5001 random bytes were asked for; 5000 are allowed .*_per_list"):
        python(
            lambda run: run(f"{function}(5000); {function}(5001)"),
            limits=Limits(bytes_per_list=5000),
        )


def test_the_system_s_source_does_not_repeat_itself(python):
    found = python(lambda run: run("result = [random.get_random_u64() for _ in range(8)]"))
    assert len(set(found)) == 8
