"""Lines of text out of the bytes of a guest, wherever the guest cut them."""

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
