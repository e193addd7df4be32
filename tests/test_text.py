"""Lines of text out of the bytes of a guest, wherever the guest cut them."""

from itertools import pairwise

import pytest

import coop


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_lines_are_whole_however_the_bytes_are_cut(lines, size):
    data = "one\nzwölf €\n\n𝄞 last\n".encode()
    stream = coop.text(lines.append)
    for at in range(0, len(data), size):
        part = data[at : at + size]
        assert stream.write(part) == len(part)
    assert lines == ["one", "zwölf €", "", "𝄞 last"]


def test_a_last_line_without_its_newline_comes_with_the_end_and_once(lines):
    stream = coop.text(lines.append)
    stream.write(b"no newline")
    assert lines == []
    stream.close()
    stream.close()
    assert lines == ["no newline"]


def test_bytes_that_are_no_text_are_replaced_and_lose_nothing_around_them(lines):
    stream = coop.text(lines.append)
    stream.write(b"a\xffb\n\xe2\x82")
    stream.close()
    assert lines == ["a\ufffdb", "\ufffd"]


@pytest.mark.parametrize("size", [1, 1000, 65536, 200_000])
def test_a_line_without_an_end_is_given_in_pieces(lines, size):
    stream = coop.text(lines.append)
    data = ("€" * 150_000 + "\nshort\n" + "x" * 65536 + "\n" + "y" * 65537).encode()
    while data:
        taken = stream.write(data[:size])
        assert 0 < taken <= min(size, len(data), 65536)
        data = data[taken:]
    assert [len(line) for line in lines] == [65536, 65536, 150_000 - 131_072, 5, 65536, 65536]
    stream.close()
    assert "".join(lines) == "€" * 150_000 + "short" + "x" * 65536 + "y" * 65537


def test_lines_of_two_guests_are_not_mixed(lines):
    """What is taken of a long write ends with a line, after which it is another one's turn."""
    stream, left = coop.text(lines.append), {name: f"{name * 99}\n".encode() * 3000 for name in "ab"}
    while any(left.values()):
        for name, data in left.items():
            left[name] = data[stream.write(data) :] if data else data
    assert set(lines) == {"a" * 99, "b" * 99}
    assert len(lines) == 6000


def test_another_encoding_can_be_named(lines):
    coop.text(lines.append, encoding="latin-1").write(b"\xe4\n")
    assert lines == ["ä"]


def test_a_guests_last_line_without_a_newline_is_not_lost(lines):
    wat = """(module
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "\\08\\00\\00\\00\\04\\00\\00\\00a\\nbc")
      (func (export "_start")
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"""
    module = coop.Module.from_bytes(wat, cache=False)
    assert coop.run(coop.Guest(module, stdout=coop.text(lines.append)).run) == 0
    assert lines == ["a", "bc"]


def test_the_others_run_while_a_guest_has_very_many_lines_written_at_once(lines):
    wat = """(module
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 8)
      (func (export "_start")
        (memory.fill (i32.const 1024) (i32.const 10) (i32.const 400000))
        (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 400000))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"""
    module = coop.Module.from_bytes(wat, cache=False)

    def main() -> list[int]:
        seen = []
        task = coop.spawn(coop.Guest(module, stdout=coop.text(lines.append)).run)
        while not task.is_done:
            coop.pause()
            seen.append(len(lines))
        return seen

    seen = coop.run(main)
    assert lines == [""] * 400_000
    assert max(after - before for before, after in pairwise(seen)) <= 65_536


def test_what_is_no_function_is_named_before_a_guest_writes():
    with pytest.raises(TypeError, match=r"^line: a function to call with each line wanted, not NoneType$"):
        coop.text(None)  # as print() gives, where print was meant
