"""A function of wasi:http that is unstable and not offered: a guest that calls it ends with its name."""

import pytest

import coop
from coop.engine.component import Component
from coop.serve import Instances, Server
from coop.wasip2 import Guest
from coop.wasip2.worlds import wit_files
from tests.components import python_component
from tests.guestbuild import ToolchainMissing
from tests.serve.conftest import exchange, start_once

GUEST = """
from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports.wasi_http_types import Fields, OutgoingResponse, ResponseOutparam

class IncomingHandler(exports.IncomingHandler):
    def handle(self, request, out):
        out.send_informational(103, Fields())
        ResponseOutparam.set(out, Ok(OutgoingResponse(Fields())))
"""

RESOURCE = "resource response-outparam {\n"
METHOD = "send-informational: func(status: u16, headers: headers) -> result<_, error-code>;\n"


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def component(tmp_path_factory) -> Component:
    (source := tmp_path_factory.mktemp("guest") / "informs.py").write_text(GUEST)
    text = wit_files()["deps/wasi-http/package.wit"]
    assert RESOURCE in text
    try:
        path = python_component(
            source, "service", packages={"wasi:http": text.replace(RESOURCE, RESOURCE + METHOD)}
        )
    except ToolchainMissing as missing:
        pytest.skip(str(missing))
    found = Component.from_file(path)
    start_once(found)
    return found


def test_a_guest_that_sends_an_informational_answer_ends_with_its_name(component, logged):
    def main() -> bytes:
        server = Server(Instances(lambda: Guest(component)))
        address = server.listen("127.0.0.1:0")
        with coop.TaskGroup() as group:
            group.spawn(server.run)
            try:
                return coop.run_in_thread(exchange, address, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            finally:
                server.stop()

    assert coop.run(main).startswith(b"HTTP/1.1 500 ")
    (line,) = (line for line in logged if line["event"] == "handler trapped")
    assert "[method]response-outparam.send-informational" in line["error"]
    assert "wasi:http/types" in line["error"]
