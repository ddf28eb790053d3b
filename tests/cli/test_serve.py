from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from outlast_broker.config import Config
from outlast_broker.configuration.options import BY_NAME
from outlast_broker.doors.address import UnixAddress, parse_address
from outlast_broker.retention import Retention
from outlast_broker.tls_files import TlsFiles
from outlast_cli.exits import Exit
from outlast_cli.root import root
from outlast_cli.serve import serve, url_of

from . import shell


def config_from(monkeypatch: pytest.MonkeyPatch, *arguments: str, **env: str) -> Config:
    """What `outlast serve` would run with."""
    seen: list[Config] = []

    def run(config: Config, ready: object, load: object) -> int:
        seen.append(config)
        return 0

    monkeypatch.setattr("outlast_broker.serve.serve", run)
    result = CliRunner().invoke(root, ["serve", *arguments], env=env)
    assert result.exit_code == 0, result.output
    return seen[0]


def test_the_defaults_are_the_brokers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config_from(monkeypatch) == Config()


def test_every_option_of_the_broker_is_one_here() -> None:
    assert [parameter.name for parameter in serve.params] == ["file", *BY_NAME]


def test_options(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_from(
        monkeypatch,
        *("--listen", "127.0.0.1:0", "--listen", "unix:/tmp/x", "--retain-age", "7d", "--retain-records", "9"),
        *("--retain-bytes", "100MiB", "--idle-ttl", "30d", "--disk-reserve", "1GiB", "--drain-time", "10s"),
    )
    assert config.listen == ("127.0.0.1:0", "unix:/tmp/x")
    assert config.retention == Retention(604_800_000, 9, 100 << 20, 30 * 86_400_000)
    assert (config.disk_reserve_bytes, config.drain_ms) == (1 << 30, 10_000)


def test_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    files = ("--tls-certificate", "a.pem", "--tls-key", "a.key", "--tls-client-ca", "ca.pem")
    config = config_from(monkeypatch, "--listen", "tls:127.0.0.1:0", *files, "--handshake-timeout", "3s")
    assert config.tls == TlsFiles(Path("a.pem"), Path("a.key"), Path("ca.pem")) and config.handshake_timeout_ms == 3_000


def test_a_certificate_that_is_not_there_starts_nothing(tmp_path: Path) -> None:
    done = shell.run("serve", "--memory", "--listen", "tls:127.0.0.1:0", "--tls-certificate", f"{tmp_path}/a.pem")
    assert done.code == Exit.UNAVAILABLE and f"certificate {tmp_path}/a.pem" in done.err


def test_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_from(monkeypatch, "--allow-origin", "https://a.example", "--allow-origin", "*")
    assert config.allow_origins == ("https://a.example", "*")
    assert config_from(monkeypatch, OUTLAST_ALLOW_ORIGIN="http://a http://b").allow_origins == ("http://a", "http://b")
    refused = CliRunner().invoke(root, ["serve", "--allow-origin", "a.example"])
    assert refused.exit_code == Exit.USAGE and "https://HOST" in refused.output


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_from(monkeypatch, OUTLAST_LISTEN="127.0.0.1:1 [::1]:2", OUTLAST_MEMORY="1", OUTLAST_RETAIN_AGE="1h")
    assert config.listen == ("127.0.0.1:1", "[::1]:2")
    assert (config.data, config.retention.age_ms) == (None, 3_600_000)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--retain-bytes", "5zib"], "'5zib' is no size: allowed is"),
        (["--retain-age", "5"], "'5' is no duration: allowed are"),
        (["--retain-records", "-1"], "-1 is too little"),
        (["--listen", "6180"], "use HOST:PORT, [IPV6]:PORT, tls:HOST:PORT or unix:PATH"),
        (["--listen", "0.0.0.0:6180"], "--auth-keys"),
        (["--listen", "tls:127.0.0.1:0"], "give --tls-certificate"),
        (["--memory", "--data", "x"], "give one of them"),
        (["--log-level", "loud"], "debug, info, warning, error"),
    ],
)
def test_mistakes(arguments: list[str], text: str) -> None:
    result = CliRunner().invoke(root, ["serve", *arguments])
    assert result.exit_code == Exit.USAGE
    assert text in result.stderr


def test_urls() -> None:
    assert url_of(parse_address("[::1]:6180")) == "outlast://[::1]:6180"
    assert url_of(parse_address("tls:10.0.0.1:6180")) == "outlasts://10.0.0.1:6180"
    assert url_of(UnixAddress("/a b/c")) == "outlast+unix:///a%20b/c"


def first_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    return process.stderr.readline().decode()


def test_memory_says_so_loudly_and_ends_in_order() -> None:
    with shell.start("serve", "--memory", "--listen", "127.0.0.1:0") as broker:
        line = first_line(broker)
        assert line.startswith("outlast: ready at outlast://127.0.0.1:")
        assert "IN MEMORY" in line
        broker.send_signal(signal.SIGINT)
        assert broker.wait(shell.TIMEOUT_S) == Exit.OK


def test_one_line_for_each_address(tmp_path: Path) -> None:
    arguments = ("--listen", "127.0.0.1:0", "--listen", f"unix:{tmp_path}/s", "--data", str(tmp_path / "data"))
    with shell.start("serve", *arguments) as broker:
        assert "ready at outlast://127.0.0.1:" in first_line(broker)
        assert f"ready at outlast+unix://{tmp_path}/s (records in {tmp_path}/data)" in first_line(broker)
        second = shell.run("serve", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"))
        assert second.code == Exit.IN_USE
        assert "is in use by another Outlast broker" in second.err
        broker.send_signal(signal.SIGTERM)
        assert broker.wait(shell.TIMEOUT_S) == Exit.OK


def test_a_folder_that_cannot_be_listened_in(tmp_path: Path) -> None:
    done = shell.run("serve", "--memory", "--listen", f"unix:{tmp_path}/nowhere/s")
    assert done.code == Exit.UNAVAILABLE
    assert "cannot listen" in done.err
