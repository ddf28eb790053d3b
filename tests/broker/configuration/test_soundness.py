from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from outlast_broker.config import Config
from outlast_broker.configuration.soundness import idle_certificate, unsound
from outlast_broker.tls_files import TlsFiles


def test_the_defaults_are_sound() -> None:
    assert list(unsound(Config())) == []


def test_strangers_are_let_in_by_nobody_who_did_not_say_so() -> None:
    config = replace(Config(), listen=("127.0.0.1:1", "0.0.0.0:6180", "unix:/x", "[::]:1"))
    wrong = list(unsound(config))
    assert [name for name, _ in wrong] == ["listen", "listen"]
    assert wrong[0][1].startswith("0.0.0.0:6180 can be reached") and "--insecure-no-auth" in wrong[0][1]
    assert list(unsound(replace(config, insecure_no_auth=True))) == []


def test_tls_takes_an_address_and_a_certificate() -> None:
    [(name, _)] = unsound(replace(Config(), listen=("tls:127.0.0.1:1",)))
    assert name == "listen"
    idle = replace(Config(), tls=TlsFiles(Path("x.pem")))
    assert list(unsound(idle)) == [] and "--listen tls:" in idle_certificate(idle)
    used = Config(listen=("127.0.0.1:1", "tls:127.0.0.1:2"), tls=TlsFiles(Path("x.pem")))
    assert list(unsound(used)) == [] and idle_certificate(used) == idle_certificate(Config()) == ""
