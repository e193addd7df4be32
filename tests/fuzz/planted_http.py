"""A bug on purpose in the HTTP server, for whoever imports this: lengths said in two ways are let through."""

from coop.serve import connection

_objection = connection.objection


def _objects_less(*given: object) -> tuple[int, str] | None:
    found = _objection(*given)  # type: ignore[arg-type]
    return None if found is not None and "cannot be told" in found[1] else found


connection.objection = _objects_less  # type: ignore[assignment]
