from __future__ import annotations

import sysconfig
from pathlib import Path

from outlast_cli.demo.agent import library_files, sentences


def test_the_library_is_real_and_the_seed_orders_it() -> None:
    folder = Path(sysconfig.get_path("stdlib"))
    files = library_files(folder, 1)
    assert folder / "ast.py" in files and len(files) > 200
    assert files == library_files(folder, 1) != library_files(folder, 2)
    assert sorted(files) == sorted(library_files(folder, 2))
    assert not any({"test", "site-packages"} & set(path.parts) for path in files)


def test_sentences_count_as_people_do() -> None:
    coverage = {"definitions": 1, "percent": 100}
    facts = {
        "outline": {"lines": 1, "functions": 0, "classes": 2},
        "longest_function": {},
        "docstring_coverage": coverage,
    }
    said = "".join(sentences(facts))
    assert said == "It has 1 line, 0 functions and 2 classes. 100 percent of its 1 definition say what they are for. "


def test_a_file_that_cannot_be_parsed_is_said_to_be_so() -> None:
    broken = {"error": "SyntaxError: no"}
    facts = dict.fromkeys(("outline", "longest_function", "docstring_coverage"), broken)
    assert list(sentences(facts)) == ["This file cannot be parsed: SyntaxError: no. "]
