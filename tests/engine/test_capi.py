import ctypes

import pytest

from coop.engine import capi
from coop.errors import Unsupported


def test_a_symbol_that_this_wasmtime_lacks_is_named_at_import(monkeypatch):
    table = {**capi._SIGNATURES, "wasmtime_no_such_function": (None, []), "wasmtime_nor_this": (None, [])}
    monkeypatch.setattr(capi, "_SIGNATURES", table)
    with pytest.raises(Unsupported, match=r"lacks wasmtime_no_such_function, wasmtime_nor_this: install"):
        capi.Library(ctypes.PyDLL(capi._path), capi._SIGNATURES)


def test_a_function_that_is_not_declared_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no C function wasmtime_store_typo"):
        _ = capi.held.wasmtime_store_typo
