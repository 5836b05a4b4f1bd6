"""The house rules of DESIGN and CONTRIBUTING, kept by tests."""

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("domain", "ledger", "projections", "plugins", "api")
FUNCTION_LINES_MAX = 70
FUNCTION_LINES_MEDIAN_MAX = 10
FILE_LINES_MAX = 500
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return node.end_lineno - node.lineno + 1


def test_the_rooms_are_there() -> None:
    for room in (*ROOMS, "tests", "bench", "deploy", "docs", "examples"):
        assert (ROOT / room).is_dir(), room
    for file in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "requirements.lock",
                 "LICENSE", "NOTICE", "pyproject.toml"):  # fmt: skip
        assert (ROOT / file).is_file(), file


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_keep_their_size(path: Path) -> None:
    source = path.read_text()
    assert source.count("\n") <= FILE_LINES_MAX
    assert path.stem not in VAGUE
    tree = ast.parse(source)
    assert ast.get_docstring(tree), "a file says what it is for"
    for function in functions(tree):
        assert length(function) <= FUNCTION_LINES_MAX, function.name


def test_the_median_function_fits_a_glance() -> None:
    lengths = [length(f) for path in FILES for f in functions(ast.parse(path.read_text()))]
    assert statistics.median(lengths) <= FUNCTION_LINES_MEDIAN_MAX


def test_only_the_composition_root_constructs() -> None:
    parts = {"PostgresStore", "PostgresViews", "Committer", "Follower", "Runner",
             "ServingView", "Sealer"}  # fmt: skip
    # The two that write without a server begin a ledger or an epoch.
    allowed = {"api/main.py", "ledger/initialising.py", "ledger/new_epoch.py"}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                where = str(path.relative_to(ROOT))
                assert node.func.id not in parts or where in allowed, (where, node.func.id)


def test_the_clock_is_read_in_one_place() -> None:
    for path in FILES:
        text = path.read_text()
        if path.name != "ids.py":
            assert "datetime.now(" not in text and "utcnow(" not in text, path


IMPURE = {"asyncio", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets",
          "select", "shutil", "signal", "socket", "sqlite3", "subprocess", "sys", "tempfile",
          "threading", "time", "urllib"}  # fmt: skip
PURE_LIBRARIES = {"eventsourcing.domain", "eventsourcing.utils", "jsonschema_rs", "pystache", "rapidfuzz",
                  "rfc8785", "domain", "urllib.parse"}  # fmt: skip


def test_the_domain_imports_nothing_but_what_is_pure() -> None:
    for path in (ROOT / "domain").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                root = name.partition(".")[0]
                known = root in sys.stdlib_module_names and root not in IMPURE
                pure = any(name == p or name.startswith(f"{p}.") for p in PURE_LIBRARIES)
                assert known or pure, (path.name, name)
