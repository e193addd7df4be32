import ctypes
import importlib.util
import textwrap
from pathlib import Path

import pytest

from coop.engine import capi
from coop.errors import Unsupported
from tests.children import ROOT, run_child


def test_a_symbol_that_this_wasmtime_lacks_is_named_at_import(monkeypatch):
    table = {**capi._SIGNATURES, "wasmtime_no_such_function": (None, []), "wasmtime_nor_this": (None, [])}
    monkeypatch.setattr(capi, "_SIGNATURES", table)
    with pytest.raises(Unsupported, match=r"lacks wasmtime_no_such_function, wasmtime_nor_this: install"):
        capi.Library(ctypes.PyDLL(capi._path), capi._SIGNATURES)


def test_a_function_that_is_not_declared_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no C function wasmtime_store_typo"):
        _ = capi.held.wasmtime_store_typo


def test_it_runs_where_nothing_tells_the_version_of_wasmtime(tmp_path: Path):
    for name in ("wasmtime", "greenlet"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.submodule_search_locations
        (tmp_path / name).symlink_to(spec.submodule_search_locations[0])
    code = f"""
    import sys
    sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]
    import coop

    module = coop.Module.from_bytes('(module (func (export "go") (result i32) (i32.const 42)))', cache=False)
    print(coop.run(lambda: coop.Guest(module).call("go")))
    """
    done = run_child(["-S", "-c", textwrap.dedent(code)], env={"PYTHONPATH": ""})
    assert done.stdout == b"42\n"
