"""The layers hold: a module imports from its own layer or lower, edges never import each other."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "runner"

PURE = {
    "curves", "dataset", "difference_table", "differences", "digest", "errors", "fetch", "figures", "files",
    "inputs", "metrics", "once", "outlook", "parse", "prices", "probability", "prompt", "record", "redact",
    "reference", "report", "schema", "shots", "split", "statistics", "steps", "sweep", "sweep_table",
    "table", "tokens", "training", "types", "usage",
}  # fmt: skip
EFFECTS = {
    "batch", "batch_job", "budget", "claim", "engine", "finetune", "judge", "ledger", "limits", "loop",
    "overlay", "respond", "spending", "workload", "writer",
}  # fmt: skip
EDGES = {"providers", "tracking"}
WIRING = {
    "__main__", "arguments", "build", "checks", "cli", "commands", "composer", "estimate", "estimate_table",
    "explain", "export", "job", "model", "origin", "progress", "replay", "reproduce", "restore", "run",
    "screen", "sweeping", "validate",
}  # fmt: skip
LEVEL = {name: level for level, names in enumerate((PURE, EFFECTS, EDGES, WIRING)) for name in names}

SDKS = {
    "mlflow": "tracking",
    "openai": "providers/",
    "mistralai": "providers/mistral",
    "azure": "providers/",
    "xllamacpp": "providers/local",
    "torch": "providers/local",
    "transformers": "providers/local",
    "peft": "providers/local",
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def layer_of(module: str) -> str:
    return module.split(".")[0]


def imported(file: Path) -> set[str]:
    """Full names of what a module imports, at its top or inside its functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts)


@pytest.mark.parametrize("file", MODULES, ids=own)
def test_imports_go_down(file):
    """No module imports from a higher layer, and no edge imports another edge."""
    mine = layer_of(own(file))
    if mine == "__init__":
        return
    for name in imported(file):
        if not name.startswith("runner."):
            continue
        other = layer_of(name.removeprefix("runner."))
        if other not in LEVEL:  # a name of the package itself
            continue
        assert LEVEL[other] <= LEVEL[mine], f"{own(file)} imports {name}"
        assert {mine, other} != EDGES, f"{own(file)} imports {name}"


@pytest.mark.parametrize("file", MODULES, ids=own)
def test_every_module_has_a_layer(file):
    """A new module is put into a layer on purpose."""
    assert layer_of(own(file)) in LEVEL or own(file) == "__init__"


@pytest.mark.parametrize("file", MODULES, ids=own)
def test_sdks_stay_at_their_edge(file):
    """An SDK is imported only by the module that speaks to its service."""
    where = file.relative_to(PACKAGE).as_posix()
    for name in imported(file):
        place = SDKS.get(name.split(".")[0])
        assert place is None or where.startswith(place), f"{where} imports {name}"
