"""What the agent can find out about a Python file. Pure: source in, facts out."""

from __future__ import annotations

import ast
from collections.abc import Callable

Facts = dict[str, int | str]
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS = (*_FUNCTIONS, ast.ClassDef)


def outline(source: str) -> Facts:
    nodes = list(ast.walk(ast.parse(source)))
    return {
        "lines": source.count("\n"),
        "functions": sum(isinstance(node, _FUNCTIONS) for node in nodes),
        "classes": sum(isinstance(node, ast.ClassDef) for node in nodes),
    }


def longest_function(source: str) -> Facts:
    """Its name is empty when there is no function."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, _FUNCTIONS)]
    longest = max(functions, key=_line_count, default=None)
    return {"name": longest.name, "lines": _line_count(longest)} if longest else {"name": "", "lines": 0}


def docstring_coverage(source: str) -> Facts:
    """`percent` of the module, its classes and its functions that say what they are for."""
    tree = ast.parse(source)
    definitions = [tree, *(node for node in ast.walk(tree) if isinstance(node, _DEFINITIONS))]
    documented = sum(ast.get_docstring(node, clean=False) is not None for node in definitions)
    return {"definitions": len(definitions), "percent": 100 * documented // len(definitions)}


def _line_count(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


TOOLS: dict[str, Callable[[str], Facts]] = {
    "outline": outline,
    "longest_function": longest_function,
    "docstring_coverage": docstring_coverage,
}


def use(tool: str, source: str) -> Facts:
    """A tool's result; `error` says why there is none."""
    try:
        return TOOLS[tool](source)
    except (SyntaxError, ValueError, RecursionError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
