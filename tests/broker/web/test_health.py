from __future__ import annotations

from outlast_broker.web.health import checks_of
from outlast_protocol import ErrorCode, ProtocolError

from tests.broker.stage import Stage
from tests.support.broker import running_broker
from tests.support.web import LISTEN, WebClient, port_of


def test_a_broker_that_works(web: WebClient) -> None:
    assert web.ask("GET", "/livez").body == b"ok\n"
    assert web.ask("GET", "/readyz").body == b"ok\n"
    said = web.get("/readyz?verbose")
    assert said == {"ready": True, "checks": {"recovered": "ok", "disk": "ok", "writable": "ok", "staying": "ok"}}


def test_a_broker_without_disk_lives_and_is_not_ready() -> None:
    with running_broker(listen=LISTEN) as broker:
        web = WebClient(port_of(broker))
        broker._server._engine.refusal = ProtocolError(ErrorCode.READ_ONLY, "the disk is full", retry_after_ms=5_000)
        assert web.ask("GET", "/livez").status == 200
        assert web.ask("GET", "/readyz").status == 503
        answer = web.ask("GET", "/readyz?verbose=1")
        assert answer.status == 503 and answer.said["checks"]["writable"] == "read_only: the disk is full"
        refused = web.ask("POST", "/v1/channels/a/records", {"data": 1})
        assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "read_only", "5")
        web.close()


def test_a_broker_that_leaves_is_not_ready(stage: Stage) -> None:
    stage.engine.leaving = True
    assert checks_of(stage.engine)["staying"] != "ok"
