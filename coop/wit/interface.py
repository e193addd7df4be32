"""What Python offers a component: interfaces of functions, and resources with methods.

    class Counter(Resource):
        def __init__(self):
            super().__init__()
            self.count = 0

        @function("func(by: u32) -> u32", parks=False)
        def add(self, by):
            self.count += by
            return self.count

    class Counters(Interface):
        name = "acme:metrics/counters"
        resources = {"counter": Counter}

        @function("func() -> counter", name="[constructor]counter", parks=False)
        def new(self):
            return Counter()

A method of a resource is found on the object that the guest's handle stands for;
every other function, constructors and static ones too, on the interface's own object, of
which each guest has one.  Only what is marked can be reached.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

from coop.errors import GuestTrap
from coop.slips import Unique
from coop.wit.parse import parse_func, parse_type
from coop.wit.types import Func, Own, Type

__all__ = ["Exported", "Function", "Hold", "Interface", "Later", "Resource", "function", "hold_of"]

_F = TypeVar("_F", bound=Callable[..., Any])

_MARK = "_coop_wit"


@dataclass(frozen=True, slots=True)
class Function:
    """The mark of a function that guests may call.

    signature -- its type, as WIT spells it, without the `self` of a method; None: whatever the guest says
    name      -- its name in WIT; None: the Python name with dashes
    parks     -- True: it runs on the guest's task, in sync style, and may park.  False: it never parks,
                 and costs a third.  None: it never parks itself, but may answer `Later`
    """

    signature: str | None
    name: str | None
    parks: bool | None


class Later:
    """The answer of a function that cannot answer yet: what to call on the task, where it may park."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call


def function(
    signature: str | None = None, *, name: str | None = None, parks: bool | None = True
) -> Callable[[_F], _F]:
    """Mark the function below as one that guests may call; see `Function`."""

    def mark(call: _F) -> _F:
        setattr(call, _MARK, Function(signature, name, parks))
        return call

    return mark


class Hold:
    """How a resource is held: by a guest or not, and by what was made of it.

    parent   -- the hold of what it was made of
    children -- how many were made of it and are in use
    is_given -- whether a guest has a handle of it
    """

    __slots__ = ("children", "is_given", "parent")

    def __init__(self) -> None:
        self.parent: Hold | None = None
        self.children = 0
        self.is_given = False

    def give(self, thing: "Resource") -> None:
        """Make it a guest's.  Raises: TypeError if it is one's already, which would drop it for both."""
        if self.is_given:
            raise TypeError(f"a resource that no guest has wanted, not {thing!r}, which one has a handle of")
        self.is_given = True

    def release(self, thing: "Resource") -> None:
        """Take it from its guest.  Raises: GuestTrap while the guest has others that need it."""
        if self.children:
            raise GuestTrap(
                f"a {type(thing).__name__} is given up while {self.children} made of it are in use"
            )
        self.leave()

    def leave(self) -> None:
        """Take it from its guest, whose end it is."""
        self.is_given = False
        parent, self.parent = self.parent, None
        if parent is not None:
            parent.children -= 1


class Resource(Unique):
    """Something a guest has a handle of.

    Whoever makes a class of it may call its methods what he likes; `drop` alone is taken.
    """

    __slots__ = ("_wit_hold",)

    _wit_hold: Hold
    _wit_is_small: ClassVar = False
    """Whether it holds so little that many of it count as one towards the limit `handles`."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        """Make one that no guest has, whatever its `__init__` does."""
        made = super().__new__(cls)
        made._wit_hold = Hold()
        return made

    def __init__(self, parent: "Resource | None" = None) -> None:
        """Note what this was made of, if it was: `parent`, which must not be dropped before it."""
        if parent is not None:
            self._wit_hold.parent = parent._wit_hold
            parent._wit_hold.children += 1

    def drop(self) -> None:
        """Give back what it holds; nothing is asked of it after that."""


def hold_of(thing: Resource) -> Hold:
    """Return how a resource is held."""
    return thing._wit_hold


@dataclass(frozen=True, slots=True)
class Exported:
    """One function as a guest finds it.

    attribute -- its name in Python, on the object of the resource or of the interface
    is_method -- whether it is found on the first argument
    type      -- what it takes and gives; None: whatever the guest says
    parks     -- as its mark has it
    text      -- the same as its mark has it, by the names that types have, without the `self` of a method
    """

    attribute: str
    is_method: bool
    type: Func | None
    parks: bool | None
    text: str | None


class Interface:
    """One interface of a WIT package; each guest has an object of it.

    name      -- package and interface, without a version; "" for functions that stand alone in a world
    version   -- how versions begin that this is right for; None: every version
    resources -- the resources it defines, by their names in WIT
    uses      -- types and resources of other interfaces, by name: where they come from, and with which
                 name if it is another one
    types     -- types that have names here: what they are, as WIT spells them, later ones by earlier ones
    """

    name: ClassVar[str]
    version: ClassVar[str | None] = None
    resources: ClassVar[Mapping[str, type[Resource]]] = {}
    uses: ClassVar[Mapping[str, "type[Interface] | tuple[type[Interface], str]"]] = {}
    types: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def full_name(cls, resource: str) -> str:
        """Return the name by which a resource of this interface is told from all others."""
        return f"{cls.name}/{resource}" if cls.name else resource

    @classmethod
    def named(cls) -> dict[str, Type]:
        """Return every type that has a name in this interface."""
        names = {}
        for name, origin in cls.uses.items():
            there, original = origin if isinstance(origin, tuple) else (origin, name)
            names[name] = there.named()[original]
        names |= {name: Own(cls.full_name(name)) for name in cls.resources}
        for name, text in cls.types.items():
            names[name] = parse_type(text, names)
        return names

    @classmethod
    def exported(cls) -> dict[str, Exported]:
        """Return what a guest may call, by its name in WIT.  Raises: ValueError for a bad signature."""
        names = cls.named()
        found = {}
        for attribute, mark in _marked(cls):
            found[mark.name or _dashed(attribute)] = _exported(attribute, mark, False, names)
        for resource, kind in cls.resources.items():
            names_here = names | {"self": Own(cls.full_name(resource))}
            for attribute, mark in _marked(kind):
                name = f"[method]{resource}.{mark.name or _dashed(attribute)}"
                found[name] = _exported(attribute, mark, True, names_here)
        return found


def _marked(kind: type) -> list[tuple[str, Function]]:
    marks = ((name, getattr(getattr(kind, name), _MARK, None)) for name in dir(kind))
    return [(name, mark) for name, mark in marks if isinstance(mark, Function)]


def _exported(attribute: str, mark: Function, is_method: bool, names: Mapping[str, Type]) -> Exported:
    signature = mark.signature
    if signature is None:
        return Exported(attribute, is_method, None, mark.parks, None)
    if is_method:
        word, bracket, rest = signature.partition("(")
        comma = "" if rest.lstrip().startswith(")") else ", "
        if bracket:
            signature = f"{word}(self: borrow<self>{comma}{rest}"
    return Exported(attribute, is_method, parse_func(signature, names), mark.parks, mark.signature)


def _dashed(attribute: str) -> str:
    return attribute.rstrip("_").replace("_", "-")
