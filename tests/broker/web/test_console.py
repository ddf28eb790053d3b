from __future__ import annotations

import gzip
import re

import pytest
from outlast_broker.web.console import KEEP, page_files

from tests.support.broker import running_broker
from tests.support.web import LISTEN, WebClient, port_of

ADDRESS = re.compile(rb'(?:href|src)="(/console/[^"]+)"')


def addresses(web: WebClient) -> list[str]:
    """Of the files that the page asks for."""
    return [found.decode() for found in ADDRESS.findall(web.ask("GET", "/").body)]


def test_the_page_is_at_the_root_and_is_asked_for_each_time(web: WebClient) -> None:
    page = web.ask("GET", "/")
    assert page.status == 200 and page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Cache-Control"] == "no-cache"
    again = web.ask("GET", "/", If_None_Match=page.headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    assert web.ask("GET", "/", If_None_Match='"other"').status == 200


def test_its_files_are_there_and_are_kept_for_ever(web: WebClient) -> None:
    found = addresses(web)
    assert {address.split("?")[0].rpartition("/")[2] for address in found} == set(page_files()) - {"index.html"}
    for address in found:
        file = web.ask("GET", address)
        assert file.status == 200 and file.headers["Cache-Control"] == KEEP, address


def test_a_file_of_another_build_is_not_kept(web: WebClient) -> None:
    for address in ("/console/console.js", "/console/console.js?v=0123456789abcdef"):
        assert web.ask("GET", address).headers["Cache-Control"] == "no-cache"


def test_nothing_but_its_own_files_may_run(web: WebClient) -> None:
    for address in ("/", *addresses(web)):
        headers = web.ask("GET", address).headers
        policy = dict(rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"


def test_the_page_has_no_script_and_no_style_inside(web: WebClient) -> None:
    page = web.ask("GET", "/").body
    assert not re.search(rb"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|https?://", page)


def test_what_takes_gzip_gets_it(web: WebClient) -> None:
    plain = web.ask("GET", "/console/console.js")
    packed = web.ask("GET", "/console/console.js", Accept_Encoding="br, gzip")
    assert packed.headers["Content-Encoding"] == "gzip" and "Content-Encoding" not in plain.headers
    assert gzip.decompress(packed.body) == plain.body
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"


def test_it_is_small() -> None:
    assert sum(len(file.packed) for file in page_files().values()) < 68_000


def test_head_is_get_without_a_body(web: WebClient) -> None:
    for address in ("/", *addresses(web)):
        head, got = web.ask("HEAD", address), web.ask("GET", address)
        assert head.body == b"" and head.headers["Content-Length"] == str(len(got.body))
        assert head.headers["ETag"] == got.headers["ETag"]


@pytest.mark.parametrize(
    "path",
    ["/console", "/console/", "/console/index.html", "/console/none.js", "/console/../console.py", "/console/..",
     "/console/..%2Fconsole.py", "/console/%2e%2e%2fconsole.py", "/console//etc/passwd", "/console/%2Fetc%2Fpasswd",
     "/console/..%5Cconsole.py", "/console/console.js%00", "/console/./console.js", "/index.html", "//"],
)  # fmt: skip
def test_there_is_no_way_to_other_files(web: WebClient, path: str) -> None:
    assert (answer := web.ask("GET", path)).status == 404 and answer.code == "no_such_path"


def test_other_methods_are_refused(web: WebClient) -> None:
    answer = web.ask("POST", "/", b"x")
    assert (answer.status, answer.code, answer.headers["Allow"]) == (405, "bad_method", "GET, OPTIONS")


def test_it_can_be_switched_off() -> None:
    with running_broker(listen=LISTEN, console=False) as broker:
        web = WebClient(port_of(broker))
        for path in ("/", "/console/console.js"):
            assert (answer := web.ask("GET", path)).status == 404 and "--no-console" in answer.said["advice"]
        assert web.ask("GET", "/livez").status == 200
        web.close()
