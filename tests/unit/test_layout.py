"""The layout's rules: who imports whom, how long a file is, what a process carries."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import entry_points

ROOT = Path(__file__).parents[2]
MAX_LINES = 400
STAGES = sorted(p.name for p in (ROOT / "stages").iterdir() if (p / "__init__.py").is_file())
SOURCES = sorted(
    path.relative_to(ROOT) for top in ("pipeline", "stages") for path in (ROOT / top).rglob("*.py")
)
# What makes a process large and slow to start.
HEAVY = {"pandas", "pyarrow", "snowflake", "azure", "fakesnow", "duckdb", "numpy", "rich"}
# What each kind of stage has no use for.
NOT_IN = {
    "fetch": {"pandas", "numpy", "pyarrow", "snowflake", "rich", "fakesnow", "duckdb"},
    "execute": {"pandas", "numpy", "pyarrow", "snowflake", "rich", "azure", "fakesnow", "duckdb"},
    "batch": {"pandas", "numpy", "snowflake", "azure", "rich", "fakesnow", "duckdb", "requests"},
    "load": {"azure", "boto3", "botocore", "keyring", "rich", "fakesnow", "duckdb"},
}


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_stages_share_nothing_and_the_pipeline_knows_none_of_them(path: Path) -> None:
    own = ".".join(path.parts[:2]) if path.parts[0] == "stages" else ""
    for module in imported(path):
        top = module.split(".")[0]
        assert top not in ("tests", "bench")
        if top == "stages":
            assert own, f"{path} imports {module}"
            assert module.startswith(own + ".") or module == own, f"{path} imports {module}"


def test_only_one_file_of_the_pipeline_names_the_stages() -> None:
    naming = []
    for path in SOURCES:
        if path.parts[0] == "pipeline":
            texts = [
                node.value
                for node in ast.walk(ast.parse((ROOT / path).read_text()))
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            ]
            # Docstrings may refer to a stage's module; text that can be imported may not.
            if any(text.startswith(f"stages.{s}.") for text in texts for s in STAGES):
                naming.append(str(path))
    assert naming == ["pipeline/entry_points.py"]


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_no_file_is_long(path: Path) -> None:
    assert len((ROOT / path).read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("entry", [*entry_points.STAGES.values(), *entry_points.COMMANDS.values()])
def test_every_entry_point_resolves(entry: str) -> None:
    assert callable(entry_points.resolve(entry))


def test_every_console_command_resolves() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    scripts = setup["options.entry_points"]["console_scripts"].split("\n")
    commands = [line.partition("=")[2].strip() for line in scripts if line.strip()]
    assert commands
    for command in commands:
        assert callable(entry_points.resolve(command))


def test_every_stage_has_an_entry_point_and_a_link() -> None:
    assert sorted(entry_points.STAGES) == STAGES
    assert {kind for pair in entry_points.LINKS for kind in pair} == set(STAGES)
    names = entry_points.processes(3)
    assert len(names) == len(set(names)) == 6
    pairs = entry_points.links(names)
    assert len(pairs) == len(set(pairs)) == 3 + 3 + 1 + 1 + 1


def modules_after(code: str) -> set[str]:
    """Modules that a fresh interpreter holds after this code."""
    script = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def carried(modules: set[str], unwanted: set[str]) -> set[str]:
    return {m for m in modules for u in unwanted if m == u or m.startswith(u + ".")}


def test_the_command_line_starts_with_nothing_heavy() -> None:
    for code in ("import pipeline.__main__", "import pipeline.cli"):
        assert carried(modules_after(code), HEAVY) == set()


def test_the_supervisor_carries_no_stage() -> None:
    modules = modules_after("import pipeline.commands.run_command")
    assert carried(modules, {"stages", *HEAVY} - {"rich"}) == set()


@pytest.mark.parametrize("kind", NOT_IN)
def test_a_stage_carries_no_library_of_another(kind: str) -> None:
    code = f"""
import pipeline.child, pipeline.stage
from pipeline.entry_points import STAGES, resolve
resolve(STAGES[{kind!r}])"""
    modules = modules_after(code)
    assert carried(modules, NOT_IN[kind]) == set()
    others = {f"stages.{name}" for name in STAGES if name != kind}
    assert carried(modules, others) == set()
