"""The house stands: arrows between rooms go one way, and every room is small enough to know."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from places import ROOT

PACKAGE = ROOT / "runner"

MAY_IMPORT = {
    "core.source": "",
    "core": "core.source",
    "parse": "core",
    "config.mistakes": "core",
    "config.groups": "",
    "config": "config.groups config.mistakes core",
    "engine.ledger": "core",
    "engine": "core engine.ledger",
    "records": "core",
    "providers.http": "core",
    "providers": "core providers.http",
    "providers.openai": "core providers providers.http",
    "providers.azure": "core providers providers.http providers.openai",
    "providers.mistral": "core providers providers.http",
    "providers.together": "core providers providers.http",
    "providers.anthropic": "core providers providers.http",
    "providers.any_llm": "core providers providers.http providers.openai",
    "providers.local": "core providers",
    "data.files": "core",
    "data.sql": "core",
    "data": "core config data.files data.sql",
    "metrics": "core data.sql parse",
    "metrics.summary": "core metrics",
    "metrics.tournament": "core metrics parse",
    "metrics.repeated": "core metrics",
    "metrics.statistics": "core metrics metrics.repeated",
    "metrics.calibrated": "core metrics",
    "metrics.judged": "core metrics metrics.repeated",
    "money": "core config engine engine.ledger",
    "pipeline": "core config data engine engine.ledger money parse",
    "pipeline.judge": "core config data engine engine.ledger money parse pipeline",
    "experiment.scoring": "core config data metrics parse pipeline pipeline.judge",
    "experiment": "core config config.groups data engine engine.ledger experiment.scoring metrics"
    " metrics.repeated metrics.statistics money parse pipeline pipeline.judge records",
    "experiment.estimate": "core config engine engine.ledger experiment experiment.scoring metrics"
    " metrics.repeated metrics.statistics money pipeline pipeline.judge records",
    "report": "core metrics metrics.statistics records",
    "tracking": "core config records report",
    "reproduce": "core config data engine engine.ledger experiment experiment.scoring pipeline pipeline.judge"
    " providers.local records",
    "cli.arguments": "core",
    "cli.screen": "core engine money records report",
    "cli.show": "cli cli.arguments cli.screen core config data experiment experiment.estimate money parse"
    " pipeline pipeline.judge providers.local records",
    "cli": "cli.arguments cli.screen core config config.groups engine engine.ledger experiment"
    " experiment.estimate money pipeline providers.local records report reproduce tracking",
    "": "cli core records",
}
"""Each room and what it may import. The root is the Python API and ``python -m runner``."""

SDKS = {
    "mlflow": "tracking",
    "openai": "providers.openai providers.azure",
    "mistralai": "providers.mistral",
    "azure": "providers.azure",
    "anthropic": "",
    "any_llm": "providers.any_llm",
    "genai_prices": "money",
    "xllamacpp": "providers.local",
    "torch": "providers.local",
    "transformers": "providers.local",
    "peft": "providers.local",
    "gguf": "providers.local",
}
ENTRIES, MODULES, LINES = 17, 14, 300


def name_of(file: Path) -> str:
    """The dotted name below ``runner``; a package's is that of its ``__init__``."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def room_of(name: str) -> str:
    """The package that a module belongs to."""
    return name if FILES[name].name == "__init__.py" else name.rpartition(".")[0]


def imported(file: Path) -> set[str]:
    """Full names of what a module imports: at its top, inside its functions, and for its types."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own_imports(name: str) -> set[str]:
    """The modules of this package that a module imports."""
    found = set()
    for full in imported(FILES[name]):
        inside = full.removeprefix("runner.")
        if inside != full:
            found.add(inside if inside in FILES else inside.rpartition(".")[0])
    return found - {name}


@pytest.mark.parametrize("name", FILES)
def test_arrows_go_one_way(name):
    """A module imports from its own room or from those that its room may import."""
    room = room_of(name)
    assert room in MAY_IMPORT, f'a new room: add its line to MAY_IMPORT, such as "{room}": "core"'
    allowed = {room, *MAY_IMPORT[room].split()}
    assert {room_of(other) for other in own_imports(name)} <= allowed, name


def test_no_circles():
    """Neither rooms nor modules import each other in a circle."""
    modules = {name: own_imports(name) for name in FILES}
    rooms = {room: set(allowed.split()) for room, allowed in MAY_IMPORT.items()}
    for graph in (modules, rooms):
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            pytest.fail(f"a circle: {error.args[1]}")


@pytest.mark.parametrize("name", FILES)
def test_sdks_stay_where_their_service_is(name):
    """An SDK is imported only by the room that speaks to its service."""
    for full in imported(FILES[name]):
        place = SDKS.get(full.split(".")[0])
        assert place is None or room_of(name) in place.split(), f"{name} imports {full}"


def test_rooms_are_small():
    """What one opens is a dozen rooms of a dozen modules of a few hundred lines."""
    entries = [entry.name for entry in PACKAGE.iterdir() if entry.name != "__pycache__"]
    assert len(entries) <= ENTRIES, entries
    for folder in {file.parent for file in FILES.values()}:
        assert len(list(folder.glob("*.py"))) <= MODULES, folder
    for name, file in FILES.items():
        assert len(file.read_text().splitlines()) <= LINES, name


def test_tests_lie_like_the_code():
    """The folders of the tests are rooms of the code."""
    beside = {"support", "benchmarks", "faults"}
    for file in (ROOT / "tests").rglob("test_*.py"):
        folder = ".".join(file.relative_to(ROOT / "tests").parent.parts)
        assert folder in MAY_IMPORT or folder in beside, f"{file}: MAY_IMPORT has no room {folder!r}"
