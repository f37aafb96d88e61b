"""What the docs show is what happens: files and commands are taken from the pages themselves."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import reference
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from logs import LOGS
from omegaconf import OmegaConf

from runner.cli.arguments import COMMANDS, FOLDERS, READ, join_folders, join_shown
from runner.config import schema
from runner.config.dataset_schema import StepConfig
from runner.core.paths import CONF
from runner.core.types import RESERVED, list_members
from runner.data.steps import apply_steps
from runner.experiment.reference import read_figures

ROOT = Path(__file__).parents[1]
REFERENCE = reference.PAGE.read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OWN = re.compile(r"_target_: (?!runner\.)")
"""A class of the user's own; test_own_classes.py runs these commands."""
TUTORIAL = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(
    r"^(?:`(?P<file>[\w./]+)`\n\n)?```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of every ``runner`` line in the page's shell blocks."""
    for block in BLOCK.finditer(page.read_text()):
        for line in block["text"].splitlines() if block["kind"] == "sh" else ():
            program, *arguments = shlex.split(line, comments=True) or [""]
            if program in ("runner", "bin/runner"):
                yield arguments


def asks_a_model(arguments: list[str]) -> bool:
    return any(argument.startswith("provider=") for argument in arguments)


def points(overrides: list[str]) -> Iterator[list[str]]:
    """Each option of each swept group once, with the first of the others; of a swept value the first."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    choices = []
    for override, text in zip(parsed, overrides, strict=True):
        key = override.get_key_element()
        values = override.sweep_string_iterator() if override.is_sweep_override() else ()
        choices.append([f"{key}={value}" for value in values] or [text])
        if key != "checkpoint" and not (CONF / key.partition("@")[0]).is_dir():
            del choices[-1][1:]
    first = [values[0] for values in choices]
    yield first
    for place, values in enumerate(choices):
        for value in values[1:]:
            yield [*first[:place], value, *first[place + 1 :]]


DOCUMENTED = {
    " ".join(arguments): arguments
    for page in PAGES
    for arguments in commands(page)
    if "--config-dir" not in arguments and not OWN.search(" ".join(arguments))
}
"""Each command once, although several pages may show it."""


@pytest.mark.parametrize("arguments", DOCUMENTED.values(), ids=[line[:80] for line in DOCUMENTED])
def test_commands_compose(arguments):
    """Every command that a page shows is a command, and every option that it chooses gives a config.

    A swept checkpoint counts as an option: the figures of an experiment may not have the case.
    """
    command = arguments[0] if arguments and arguments[0] in COMMANDS else None
    given = arguments[1:] if command else arguments
    given = join_shown(given) if command == "show" else join_folders(FOLDERS.get(command or ""), given)
    overrides = [argument for argument in given if not argument.startswith("-")]
    schema.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for point in points(overrides):
            config = OmegaConf.to_object(compose("config", point))
            assert config
            if command in (None, "estimate"):
                assert read_figures(config.reference) is not None  # the case that is run has been published


def test_the_pages_show_commands():
    """The pattern finds what it should: the README's commands and the tutorial's."""
    assert {len(list(commands(page))) > 3 for page in (PAGES[0], TUTORIAL)} == {True}


def test_links_lead_somewhere():
    """A page links to files that exist, and to headings that they have."""
    for page in PAGES:
        for link in re.findall(r"\]\((?!https?:)([^)]+)", page.read_text()):
            file, _, anchor = link.partition("#")
            target = page.parent / file if file else page
            assert target.exists(), f"{page.name} links to {link}"
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if anchor else []
            assert not anchor or anchor in map(reference.make_anchor, headings), f"{page.name}: {link}"


def spaced(text: str) -> list[str]:
    """Lines without the spaces that only align them."""
    return [" ".join(line.split()) for line in text.splitlines()]


def steps(page: Path) -> Iterator[tuple[str, str, str]]:
    """Files of a page with their text, and shell blocks with the lines that they are said to print."""
    blocks = [
        (block["file"] or "", block["kind"], block["text"]) for block in BLOCK.finditer(page.read_text())
    ]
    for (file, kind, text), (_, following, printed) in zip(blocks, [*blocks[1:], ("", "", "")], strict=True):
        if file:
            yield file, text, ""
        elif kind == "sh":
            yield "", text, printed if following == "text" else ""


def test_tutorial(runner, shared_data):
    """From an empty folder: the page's files, its commands in their order, and what it says they print."""
    for file, text, printed in steps(TUTORIAL):
        if file:
            (runner.folder / file).parent.mkdir(parents=True, exist_ok=True)
            (runner.folder / file).write_text(text)
        for line in () if file else text.splitlines():
            _, *arguments = shlex.split(line, comments=True)
            untracked = [] if arguments[0] in READ else ["tracking=none"]
            outcome = runner(*arguments, *(["--cfg", "job"] if asks_a_model(arguments) else untracked))
            assert (outcome.code != 0) == printed.startswith("error:"), outcome.err
            said = spaced(outcome.out + outcome.err)
            assert [line for line in spaced(printed) if line not in said] == []
    assert len([record for record in runner.records() if record.status == "finished"]) == 6
    assert len(list(runner.folder.glob("outputs/reports/*/index.html"))) == 1


def test_mistake_in_the_readme(runner):
    """The README's example of a mistake is what the command says; its … stands for more names."""
    command, message = re.search(r"\$ runner ([^\n]*)\n(error: [^\n]*)", PAGES[0].read_text()).groups()
    pattern = ".*".join(re.escape(part) for part in message.split("…"))
    assert re.search(pattern, runner(command, "tracking=none").err)


@pytest.mark.parametrize(("page", "rows"), [("data", 2), ("judges", 1)])
def test_own_rows_and_judges(runner, page, rows):
    """With the pages' files their commands run and measure, on a few rows of the embedded model."""
    for file, text, _ in steps(ROOT / "docs" / f"{page}.md"):
        if file:
            (runner.folder / file).parent.mkdir(parents=True, exist_ok=True)
            (runner.folder / file).write_text(text)
        for line in () if file else text.splitlines():
            program, *arguments = shlex.split(line, comments=True) or [""]
            if program == "runner" and not any("openai" in argument for argument in arguments):
                outcome = runner(*arguments, "tracking=none", f"dataset.limit={rows}")
                assert outcome.code == 0, outcome.err
    assert {record.status for record in runner.records()} == {"finished"}
    assert all(record.scores for record in runner.records())
    own = {"id", "split"}
    for record in runner.records():
        own |= {*record.config["dataset"]["columns"], *record.row_scores}
    for folder in runner.folder.glob("outputs/runs/*"):
        names = pl.read_parquet_schema(folder / "predictions.parquet")
        judges = re.compile(f"judge_(?:(?:{'|'.join(list_members(names))})_)?")
        assert {judges.sub("", name, 1) for name in set(names) - columns()} - own - columns() == set()
        assert [file.name for file in folder.iterdir() if file.name not in section("Files")] == []


def section(title: str) -> str:
    """The text of the reference page below a heading."""
    return re.split(r"^##+ ", REFERENCE.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def test_reference_is_what_the_code_says():
    """The page is up to date, and every key, option and argument has a meaning (``support/reference.py``)."""
    assert reference.fill(REFERENCE) == REFERENCE, "run python -m tests.support.reference"


def test_reference_steps(tmp_path, monkeypatch):
    """Each step of the schema has an example, which does what the page says."""
    monkeypatch.chdir(tmp_path)
    text = section("Steps")
    for block in BLOCK.finditer(text):
        (tmp_path / block["file"]).write_text(block["text"])
    shown = re.findall(r"`([^`]+)`\s+turns\s+`([^`]+)`\s+into\s+`([^`]+)`", text)
    for step, before, after in shown:
        made = apply_steps(pl.DataFrame(yaml.safe_load(before)), [StepConfig(**yaml.safe_load(step))])
        assert made.to_dicts() == yaml.safe_load(after), step
    assert {step.partition(":")[0] for step, _, _ in shown} == set(StepConfig.__dataclass_fields__)


def test_reference_sql():
    """Each expression of the page gives the value beside it."""
    shown = re.findall(r"^\| `(.+)` \| `(.+)` \|$", section("SQL in steps"), re.MULTILINE)
    derive = {str(number): sql.replace(r"\|", "|") for number, (sql, _) in enumerate(shown)}
    made = apply_steps(pl.DataFrame({"row": [1]}), [StepConfig(derive=derive)]).drop("row").row(0)
    expected = [yaml.safe_load(value) for _, value in shown]
    assert (list(made), list(map(type, made))) == (expected, list(map(type, expected)))


def test_reference_variables():
    """Every environment variable that the code or an option file names is on the page."""
    files = [file.read_text() for file in (ROOT / "runner").rglob("*.py")]
    names = {name for text in files if "environ" in text for name in re.findall(r'"([A-Z]+_[A-Z_]+)"', text)}
    for file in (CONF / "provider").glob("*.yaml"):
        names |= set(re.findall(r"_env: ([A-Z]\w+)", file.read_text()))
    text = section("Environment variables")
    others = {"OMP_NUM_THREADS", "MY_API_KEY", "COMP_LINE"}  # of a library, an example and the shell
    assert {name for name in names if f"`{name}`" not in text} <= others


def columns() -> set[str]:
    """The names on the page of what a run adds to its rows."""
    return set(re.findall(r"`(\w+)`", section("Columns of the predictions")))


def test_reference_columns():
    """All reserved names are on the page; those of a judge are told together."""
    plain = {
        name
        for name in RESERVED
        if not name.startswith("judge_") and name.lower() not in ("none", "true", "false")
    }
    assert plain - columns() == set()


def test_coming_from_another_tool(runner):
    """The page's example is estimated, and the points of another tool's log are compared as it says."""
    shutil.copyfile(LOGS / "promptfoo.json.gz", runner.folder / "log.json.gz")
    for file, text, _ in steps(ROOT / "docs" / "coming-from.md"):
        if file:
            (runner.folder / file).parent.mkdir(parents=True, exist_ok=True)
            (runner.folder / file).write_text(text)
        for line in () if file else text.splitlines():
            _, *arguments = shlex.split(line)
            if arguments[0] == "estimate":
                assert runner(*arguments).code == 0
            if "experiment=logs/promptfoo" in arguments:
                played = line.replace("log.json", "log.json.gz")
                played = re.sub("(provider=openai:).*,.*", r"\1chat:large,openai:chat:small", played)
                assert runner(*shlex.split(played)[1:], "tracking=none").code == 0
    assert [record.scores["exact_match"].value for record in runner.records()] == [0.75, 0.5]
