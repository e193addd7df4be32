"""The command `coop serve`: a component that answers HTTP requests."""

import ssl
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import coop
from coop.cli.componentrun import limits_of, network_of, refuse_sockets
from coop.cli.guestrun import load
from coop.cli.plan import TERMINATED, Plan, Terminated, Termination, UsageError
from coop.cli.tell import tell
from coop.engine.component import Component
from coop.net.address import shown
from coop.scheduler import scheduler
from coop.serve import Instances, ServeLimits, Server
from coop.serve.instances import HANDLER, HANDLER_TYPE
from coop.wasip2 import Guest, Network


def serve_plan(plan: Plan, given: Mapping[str, Any]) -> int:
    """Serve until a signal ends it, and return the exit status.

    given -- the options that `coop run` does not have
    Raises: UsageError; LinkError; OSError; what loading the component raises.
    """
    if (given["tls_cert"] is None) != (given["tls_key"] is None):
        raise UsageError("--tls-cert and --tls-key go together")
    context = None if given["tls_cert"] is None else _context(given["tls_cert"], given["tls_key"])
    limits = ServeLimits(connections=given["max_connections"], body_bytes=given["max_body"])
    with Termination() as termination:
        try:
            component = load(plan)
            if not isinstance(component, Component):
                raise coop.LinkError(f"{plan.path}: this is a core module; only a component serves HTTP")
            if not any(name.partition("@")[0] == HANDLER for name in component.exports):
                raise coop.LinkError(f"{plan.path}: {HANDLER} is not exported, so it serves nothing")
            component.require(HANDLER, "handle", HANDLER_TYPE)
            refuse_sockets(plan)
            network = network_of(plan)
            reuse = given["reuse"]
            # A guest that is used again is there between requests too, and its time goes on.
            guest_limits = plan.server_limits if reuse > 1 else limits_of(plan, network)
            make = partial(_guest, plan, component, network, guest_limits)
            server = Server(Instances(make, reuse=reuse), limits=limits, context=context)
            run = partial(_main, server, make, given["addr"], termination)
            return int(coop.run(run, poller=plan.poller, trace=plan.trace, timeline=plan.timeline))
        except (Terminated, coop.WasCancelled):
            if not termination.was_sent:
                raise
            return TERMINATED


def _guest(plan: Plan, component: Component, network: Network | None, limits: coop.Limits) -> Guest:
    return Guest(
        component,
        name=plan.argv0,
        env=plan.env,
        dirs=plan.dirs,
        network=network,
        stdout="inherit",
        stderr="inherit",
        limits=limits,
    )


def _main(server: Server, make: Callable[[], Guest], address: str, termination: Termination) -> int:
    with make() as guest:
        # What keeps every guest from starting is told here, and not to each client as a 500.
        termination.will_end(scheduler(), guest)
        guest.start()
    where = server.listen(address)
    termination.will_end(scheduler(), _Ending(server))
    tell(f"serving {'https' if server.is_tls else 'http'}://{shown(where)}")
    server.run()
    return 0


class _Ending:
    """What SIGTERM ends: the server, which lets requests in progress finish."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def cancel(self) -> None:
        """Take no more requests."""
        self._server.stop()


def _context(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    for option, path in (("--tls-cert", certificate), ("--tls-key", key)):
        if not Path(path).exists():  # a pipe will do
            raise UsageError(f"{option} {path}: no such file")
    try:
        context.load_cert_chain(certificate, key, password="")  # OpenSSL would ask the terminal for one
    except (ssl.SSLError, OSError) as error:
        raise coop.CoopError(f"--tls-cert {certificate}, --tls-key {key}: {error}") from None
    return context
