"""Guests that are components: WASI 0.2's kind, whose imports and exports have types of WIT.

- `component` the compiled code, `reflect` what it imports and exports
- `decode`, `encode` how values cross the border, `handles` how resources do
- `linkage` what it is linked against, `instance` one guest
- `capi` wasmtime's functions for all of it
"""

from coop.engine.component.component import Component
from coop.engine.component.handles import GuestResource
from coop.engine.component.instance import ComponentInstance
from coop.engine.component.linkage import ComponentLinkage

__all__ = ["Component", "ComponentInstance", "ComponentLinkage", "GuestResource"]
