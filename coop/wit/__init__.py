"""WIT in Python: its types, its values, and interfaces a guest may import.

- `types` what components and host functions are made of, and `parse` from text to them
- `values` how they look in Python
- `interface` what Python offers a component, `render` its text for a guest's tools
"""

from coop.wit.interface import Interface, Later, Resource, function
from coop.wit.parse import parse_func, parse_type
from coop.wit.render import packages
from coop.wit.values import Case, Err, Ok, Some

__all__ = [
    "Case",
    "Err",
    "Interface",
    "Later",
    "Ok",
    "Resource",
    "Some",
    "function",
    "packages",
    "parse_func",
    "parse_type",
]
