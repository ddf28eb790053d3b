from __future__ import annotations

import json
import re

from outlast_broker.web.openapi import VERBS, document
from outlast_broker.web.routes import ROUTES

from tests.support.web import WebClient


def test_it_is_served(web: WebClient) -> None:
    assert web.get("/v1/openapi.json") == json.loads(json.dumps(document()))


def test_it_has_every_route_and_no_other() -> None:
    said = {(method.upper(), path) for path, methods in document()["paths"].items() for method in methods}
    assert said == {(route.method, route.path) for route in ROUTES}
    assert set(VERBS) == {route.verb for route in ROUTES}


def test_it_names_every_parameter() -> None:
    for route in ROUTES:
        parameters = document()["paths"][route.path][route.method.lower()]["parameters"]
        assert {each["name"] for each in parameters if each["in"] == "query"} == set(route.queries)
        places = {each["name"] for each in parameters if each["in"] == "path"}
        assert places == set(re.findall(r"{(\w+)}", route.path))


def test_its_references_lead_somewhere() -> None:
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document())))
    assert named == set(document()["components"]["schemas"])
