from __future__ import annotations

import subprocess
import sys

import pytest

from . import shell

BLOCKED = "import sys; sys.modules[{module!r}] = None; sys.argv = ['outlast', *{arguments!r}]; "
BLOCKED += "import outlast_cli; sys.exit(outlast_cli.main())"


@pytest.mark.parametrize(
    ("module", "arguments"),
    [("click", ["--help"]), ("lmdb", ["serve", "--memory", "--listen", "127.0.0.1:0"]), ("uvloop", ["serve"])],
)
def test_a_thin_install_says_what_is_missing(module: str, arguments: list[str]) -> None:
    code = BLOCKED.format(module=module, arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=shell.TIMEOUT_S)
    assert done.returncode == 1
    assert done.stderr == "outlast needs the broker's packages: pip install 'outlast[broker]'\n"


def test_another_missing_module_is_not_explained_away() -> None:
    code = BLOCKED.format(module="msgpack", arguments=["history", "x"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=shell.TIMEOUT_S)
    assert "ModuleNotFoundError" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--version"], {"outlast", "outlast_broker", "asyncio"}),
        (["pub", "--help"], {"outlast_broker.engine", "aiohttp", "lmdb", "pydantic", "structlog", "uvloop"}),
        (["serve", "--help"], {"outlast", "lmdb", "uvloop"}),
    ],
)
def test_what_is_heavy_is_loaded_only_where_needed(arguments: list[str], heavy: set[str]) -> None:
    code = f"import sys; sys.argv = ['outlast', *{arguments!r}]\nimport outlast_cli\n"
    code += f"try: outlast_cli.main()\nexcept SystemExit: sys.exit(sorted({heavy!r} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=shell.TIMEOUT_S)
    assert (done.returncode, done.stderr) == (0, "")
