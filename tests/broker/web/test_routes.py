from __future__ import annotations

import pytest
from outlast_broker.web.problem import Problem
from outlast_broker.web.routes import PAGES, ROUTES, find_route, methods_of, routes_at
from outlast_broker.web.site import VERBS


def refused(method: str, path: str) -> Problem:
    with pytest.raises(Problem) as caught:
        find_route(method, path)
    return caught.value


def test_every_route_has_a_verb() -> None:
    assert {route.verb for route in (*ROUTES, *PAGES)} == set(VERBS) | {"open_websocket"}


def test_places_in_a_path_have_their_values() -> None:
    route, values = find_route("PUT", "/v1/channels/room/cursors/phone")
    assert route.verb == "set_cursor" and values == {"channel": "room", "cursor": "phone"}


@pytest.mark.parametrize(
    ("segment", "name"),
    [
        ("a%2Fb", "a/b"), ("..", ".."), ("%2e%2e", ".."), ("%2E%2E%2Fother", "../other"), ("a%252Fb", "a%2Fb"),
        ("a+b", "a+b"), ("%C3%BC", "ü"), ("a;b=c", "a;b=c"), ("%3F", "?"), ("a%5Cb", "a\\b"), ("%00", "\0"),
    ],
)  # fmt: skip
def test_a_name_is_exactly_what_it_says(segment: str, name: str) -> None:
    """No trick leads from one channel to another, or out of the channels."""
    assert find_route("GET", f"/v1/channels/{segment}")[1] == {"channel": name}
    assert find_route("GET", f"/v1/channels/{segment}/records")[1] == {"channel": name}


@pytest.mark.parametrize("segment", ["%", "%2", "%zz", "%ff", "%C3%28", "%ED%A0%80"])
def test_what_says_nothing_names_nothing(segment: str) -> None:
    assert refused("GET", f"/v1/channels/{segment}").code == "bad_path"


@pytest.mark.parametrize(
    "path",
    ["", "/v1", "/v1/", "/v1/channels/", "/v1/channels//records", "/v1/channels/a/", "/v1/channels/a/records/",
     "//v1/channels", "/v1/./channels", "/v1/x/../channels", "/V1/channels", "/v1/channels/a/b", "v1/channels"],
)  # fmt: skip
def test_what_is_not_there(path: str) -> None:
    assert refused("GET", path).status == 404


def test_a_method_that_a_path_does_not_have() -> None:
    problem = refused("PUT", "/v1/channels/a/records")
    assert problem.status == 405 and problem.headers["Allow"] == "GET, OPTIONS, POST"
    assert refused("HEAD", "/v1/channels/a/events").status == 405


def test_head_is_get_without_a_body() -> None:
    assert find_route("HEAD", "/v1/channels")[0].verb == "list_channels"


def test_what_a_path_allows() -> None:
    assert methods_of(routes_at("/v1/channels/a")) == "DELETE, GET, OPTIONS"
    assert routes_at("/v1/nothing") == []
