"""Requests drawn from the OpenAPI document: each is answered as the document says, and none is a failure of ours."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from outlast_broker.web.openapi import document
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.broker import Broker
from tests.support.web import port_of

EXAMPLES = 25
# The stream never ends and the WebSocket is none of HTTP: both have tests of their own.
OTHERS = {"stream_events", "open_websocket"}
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]


def test_what_the_document_allows_is_answered_as_it_says(broker: Broker) -> None:
    schema = schemathesis.openapi.from_dict(document())
    operations = [each.ok() for each in schema.get_all_operations()]
    asked = [each for each in operations if each.definition.raw["operationId"] not in OTHERS]
    assert len(asked) == len(operations) - len(OTHERS)
    for operation in asked:
        ask_at_random(operation, f"http://127.0.0.1:{port_of(broker)}")


def ask_at_random(operation: Any, url: str) -> None:
    @settings(
        max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy())
    def ask(case: schemathesis.Case) -> None:
        answer = case.call(base_url=url, timeout=15)
        case.validate_response(answer, checks=CHECKS)
        assert answer.status_code < 500

    ask()
