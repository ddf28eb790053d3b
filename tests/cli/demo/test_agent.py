from __future__ import annotations

import sysconfig
from pathlib import Path

from outlast_cli.demo.agent import library_files


def test_the_library_is_real_and_the_seed_orders_it() -> None:
    folder = Path(sysconfig.get_path("stdlib"))
    files = library_files(folder, 1)
    assert folder / "ast.py" in files and len(files) > 200
    assert files == library_files(folder, 1) != library_files(folder, 2)
    assert sorted(files) == sorted(library_files(folder, 2))
    assert not any({"test", "site-packages"} & set(path.parts) for path in files)
