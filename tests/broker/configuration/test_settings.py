from __future__ import annotations

from pathlib import Path

import pytest
from outlast_broker.config import Config
from outlast_broker.configuration.settings import (
    CREDENTIALS,
    CREDENTIALS_VARIABLE,
    ENVIRONMENT,
    FLAG,
    BadSettings,
    load,
)
from outlast_broker.rules import Rule


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "outlast.toml"


def wrong(file: Path, text: str, **flags: str) -> str:
    file.write_text(text)
    with pytest.raises(BadSettings) as caught:
        load(file, flags)
    return str(caught.value).replace(str(file), "FILE")


def test_nothing_given_is_the_defaults() -> None:
    assert load() == (Config(), {})


def test_flags_come_before_the_environment_and_that_before_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for name in ("drain_time", "come_back", "fold_after"):
        (credentials / name).write_text("3s\n")
    file.write_text('drain_time = "4s"\ncome_back = "4s"\nfold_after = "4s"\nhello_timeout = "4s"\n')
    monkeypatch.setenv(CREDENTIALS_VARIABLE, str(credentials))
    monkeypatch.setenv("OUTLAST_DRAIN_TIME", "2s")
    monkeypatch.setenv("OUTLAST_COME_BACK", "2s")
    config, origins = load(file, {"drain_time": "1s"})
    times = (config.drain_ms, config.come_back_ms, config.fold_after_ms, config.hello_timeout_ms)
    assert times == (1_000, 2_000, 3_000, 4_000)
    assert origins == {
        "drain_time": FLAG, "come_back": ENVIRONMENT, "fold_after": CREDENTIALS, "hello_timeout": str(file),
    }  # fmt: skip


def test_a_credential_for_a_path_is_the_path_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").write_text("whatever it is, it is not read")
    monkeypatch.setenv(CREDENTIALS_VARIABLE, str(tmp_path))
    assert load().config.data == tmp_path / "data"


def test_a_credential_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "drain_tim").write_text("1s")
    monkeypatch.setenv(CREDENTIALS_VARIABLE, str(tmp_path))
    with pytest.raises(BadSettings, match="credentials: there is no option 'drain_tim': did you mean 'drain_time'?"):
        load()


def test_a_variable_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLAST_DRAIN_TIM", "1s")
    monkeypatch.setenv("OUTLAST_AUTH_KEY", "x")
    monkeypatch.setenv("OUTLAST_DRAIN_TIME", "soon")
    with pytest.raises(BadSettings) as caught:
        load(flags={"drain_time": "1s"})
    assert sorted(str(caught.value).splitlines()) == [
        "environment: there is no option 'OUTLAST_AUTH_KEY': did you mean 'OUTLAST_AUTH_KEYS'?",
        "environment: there is no option 'OUTLAST_DRAIN_TIM': did you mean 'OUTLAST_DRAIN_TIME'?",
    ]
    assert not caught.value.by_flags_alone


def test_several_values(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('listen = ["127.0.0.1:1", "unix:/x"]')
    assert load(file).config.listen == ("127.0.0.1:1", "unix:/x")
    monkeypatch.setenv("OUTLAST_LISTEN", "127.0.0.1:1 [::1]:2")
    assert load(file).config.listen == ("127.0.0.1:1", "[::1]:2")


def test_rules(file: Path) -> None:
    file.write_text('[[rules]]\nchannels = "a:*"\nretain_age = "7d"\n[[rules]]\nchannels = "*"\nretain_records = 9\n')
    assert load(file).config.rules == (Rule("a:*", age_ms=604_800_000), Rule("*", records=9))


def test_memory_goes_before_a_folder_of_elsewhere(file: Path) -> None:
    file.write_text('data = "/x"')
    assert load(file, {"memory": "true"}).config.data is None
    file.write_text("memory = true")
    assert load(file, {"data": "/y"}).config.data == Path("/y")
    assert "memory keeps nothing on disk, data does" in wrong(file, 'data = "/x"\nmemory = true')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('drain_tim = "1s"', "FILE: there is no option 'drain_tim': did you mean 'drain_time'?"),
        ("zzz = 1", "FILE: there is no option 'zzz'"),
        ("drain_time = 5", "FILE: drain_time: '5' is no duration: allowed are"),
        ("x = ", "FILE: this is not TOML: "),
        ("rules = 3", "FILE: rules: write each rule as a table of its own, under [[rules]]"),
        ("rules = [3]", "FILE: rules: write each rule as a table of its own, under [[rules]]"),
        ('[[rules]]\nretain_age = "1d"', "FILE: rules: a rule says which channels it is for"),
        ('[[rules]]\nchannels = "a*"', "FILE: rules: channels: 'a*' is no pattern"),
        ('[[rules]]\nchannels = "a"\nretain_ag = 1', "FILE: rules: there is no option 'retain_ag': did you mean"),
        ('listen = ["6180"]', "FILE: listen: '6180' is no address to listen on"),
        ('allow_origin = ["example.org"]', "FILE: allow_origin: 'example.org' is no origin"),
        ('listen = ["0.0.0.0:1"]', "FILE: listen: 0.0.0.0:1 can be reached from other machines"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_the_file(file: Path, text: str, said: str) -> None:
    assert wrong(file, text).startswith(said)


def test_everything_that_is_wrong_is_said_at_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLAST_COME_BACK", "soon")
    said = wrong(file, 'map_size = "big"', drain_time="never").splitlines()
    assert [line.partition("'")[0] for line in said] == [
        "FILE: map_size: ", "--drain-time: ", "environment: OUTLAST_COME_BACK: ",
    ]  # fmt: skip


def test_only_flags_are_the_command_lines_fault() -> None:
    with pytest.raises(BadSettings) as caught:
        load(None, {"drain_time": "never"})
    assert caught.value.by_flags_alone


def test_a_file_that_cannot_be_read(file: Path) -> None:
    with pytest.raises(BadSettings, match="there is no such file"):
        load(file)
    file.mkdir()
    with pytest.raises(BadSettings, match="there is no such file"):
        load(file)
