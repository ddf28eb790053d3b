from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from tests.support.web import WebClient


def test_a_scrape(web: WebClient, room: str) -> None:
    web.publish(room, 1)
    answer = web.ask("GET", "/metrics")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    families = {family.name: family for family in read_text(answer.body.decode())}
    assert families["outlast_records_in"].samples[0].value >= 1
    said = {sample.labels["status"]: sample.value for sample in families["outlast_http_responses"].samples}
    assert said["201"] >= 1


def test_openmetrics_for_those_who_accept_it(web: WebClient) -> None:
    wanted = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
    answer = web.ask("GET", "/metrics", Accept=wanted)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    plain = read_text(web.ask("GET", "/metrics").body.decode())
    assert samples_of(read_openmetrics(answer.body.decode())) == samples_of(plain)


def samples_of(families: Iterable[Metric]) -> list[str]:
    return [sample.name for family in families for sample in family.samples]
