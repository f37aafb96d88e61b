"""Writes the parts of docs/reference.md that come from the code: ``python -m tests.support.reference``.

A part stands between ``<!-- made: name -->`` and ``<!-- end -->``. Everything else on the page is written by
hand. What a key means stands beside it in the schema (a comment in its line, or a text below it), in the
docstring of the class (a list of names, or a sentence that names it), or beside it in the option file.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference.md"
CONF = ROOT / "conf"
MADE = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
WIDTH = 118
COMMON = ("prediction", "target", "expected", "group", "per", "confidence", "resamples", "seed", "name")
"""Arguments of all metrics, told once."""


def fill(text: str) -> str:
    """The page with its made parts as the code says them now."""
    made = MADE.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]().strip()}\n\n{found[3]}", text)
    return re.sub(
        r"(<!-- contents -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}\n{_list_headings(made)}\n\n{found[2]}",
        made,
        flags=re.DOTALL,
    )


def _list_headings(text: str) -> str:
    plain = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = []
    for part in re.split(r"^## ", plain, flags=re.MULTILINE)[1:]:
        title, inner = part.partition("\n")[0], re.findall(r"^### (.*)$", part, re.MULTILINE)
        links = [f"[{re.sub('.* of ', '', name)}](#{make_anchor(name)})" for name in inner]
        lines.append(write_item(f"[{title}](#{make_anchor(title)})", ", ".join(links)))
    return "\n".join(lines)


def make_anchor(title: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


# How things are written


def to_markdown(text: str) -> str:
    """A docstring in Markdown: its code and references as code."""
    plain = re.sub(r":\w+:`~?([\w.]+)`", lambda found: f"`{found[1].rpartition('.')[2]}`", text)
    return plain.replace("``", "`").strip()


def take_sentence(text: str | None) -> str:
    """The first sentence of a text, in Markdown and one line."""
    paragraph = " ".join(to_markdown(inspect.cleandoc(text or "")).split("\n\n")[0].split())
    return re.split(r"(?<=[\w`)][.?]) (?=[A-Z`])", paragraph)[0].rstrip(".")


def write_item(head: str, text: str = "", depth: int = 0) -> str:
    """A point of a list, broken into lines."""
    first = f"{'  ' * depth}- "
    whole = f"{head}: {text}" if text else head
    return textwrap.fill(
        " ".join(whole.split()),
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )


def write_value(value: Any) -> str:
    """A default as YAML."""
    if isinstance(value, str) and not isinstance(value, StrEnum) and value in ("", "yes", "no", "on", "off"):
        return f"'{value}'"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {write_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(write_value, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


WORDS = {
    str: "text", int: "whole number", float: "number", bool: "true or false", Any: "anything",
    dict: "mapping", list: "list", type(None): "null",
}  # fmt: skip


def name_type(kind: Any) -> str:
    """A type in words."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in WORDS:
        return WORDS[kind]
    if inspect.isclass(kind) and issubclass(kind, StrEnum):
        return list_words(f"`{member}`" for member in kind)
    if origin is typing.ClassVar:
        return name_type(arguments[0])
    if origin in (typing.Union, types.UnionType):
        known = [each for each in arguments if each is not type(None)]
        return list_words(dict.fromkeys(map(name_type, known)))
    if origin is typing.Literal:
        return list_words(f"`{value}`" for value in arguments if value != "")
    if origin and issubclass(origin, Mapping):
        return f"mapping to {name_type(arguments[1])}" if arguments[1] is not Any else "mapping"
    if origin and issubclass(origin, Sequence):
        return f"list of {name_type(arguments[0])}" if arguments[0] is not Any else "list"
    if origin:
        return "list"
    return "node with `_target_`" if kind.__name__ in ("Parser", "Metric") else "mapping"


def list_words(words: Iterable[str]) -> str:
    """``a, b or c``."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


# What a name means


def soften(text: str) -> str:
    """A text that begins like a sentence, as part of one."""
    return (
        text[:1].lower() + text[1:] if re.match(r"[A-Z][a-z]* ", text) and not text.startswith("I ") else text
    )


@cache
def _read_fields(kind: type) -> dict[str, str]:
    """What stands beside the fields of a class: a comment in the line, a text below it."""
    source = textwrap.dedent(inspect.getsource(kind))
    lines, found = source.splitlines(), {}
    body = ast.parse(source).body[0].body  # type: ignore[attr-defined]
    for node, below in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        comment = lines[node.end_lineno - 1].partition("  # ")[2]  # type: ignore[operator]
        comment = re.sub(r"^type: ignore\S*( +# )?", "", comment)
        is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        text = str(below.value.value) if is_text else ""  # type: ignore[union-attr]
        parts = [part for part in (comment, " ".join(to_markdown(text).split())) if part]
        found[node.target.id] = soften(". ".join(part.rstrip(".") for part in parts))
    return found


LISTED = re.compile(r"^ *((?:`\w+`|\w+)(?:, *(?:`\w+`|\w+))*) {2,}(\S.*(?:\n {10,}\S.*)*)", re.MULTILINE)


@cache
def _read_docstring(kind: Any) -> tuple[dict[str, str], str]:
    """The names that a docstring lists with their meanings, and its other paragraphs."""
    text = to_markdown(inspect.cleandoc(kind.__doc__ or ""))
    listed = {}
    for names, meaning in LISTED.findall(text):
        for name in re.findall(r"\w+", names):
            listed[name] = " ".join(meaning.split())
    rest = [part for part in LISTED.sub("", text).split("\n\n") if part.strip()]
    return listed, "\n\n".join(" ".join(part.split()) for part in rest if ">>>" not in part)


def _find_sentence(text: str, name: str, end: str = r"(?<=[.:]) (?=[A-Z`])") -> str:
    sentences = re.split(end, text.replace("\n\n", " "))
    return next((sentence.rstrip(".") for sentence in sentences if f"`{name}`" in sentence), "")


def find_meaning(kind: type, name: str, also: Mapping[str, str] = types.MappingProxyType({})) -> str:
    """What an argument of a class or one of its bases means; ``also`` is what option files say."""
    bases = [base for base in inspect.getmro(kind) if base.__module__.startswith("runner")]
    ways: list[Callable[[type], str]] = [
        lambda base: _read_docstring(base)[0].get(name, ""),
        lambda base: _read_fields(base).get(name, ""),
        lambda base: also.get(name, ""),
        lambda base: _find_sentence(_read_docstring(base)[1], name),
        lambda base: _find_sentence("; ".join(_read_docstring(base)[0].values()), name, "; "),
    ]
    return next((found for way in ways for base in bases if (found := way(base))), "")


def read_option(file: Path) -> tuple[Any, str, dict[str, str]]:
    """An option file: its content, the comment at its top, and the comments beside its keys."""
    lines = file.read_text().splitlines()
    head = [line[1:].strip() for line in lines if re.match(r"#($| (?!@| ))", line)]
    head = head[: head.index("")] if "" in head else head
    beside = re.findall(r"^( *)(\w+):.*?  # (.*)$", "\n".join(lines), re.MULTILINE)
    return (
        yaml.safe_load("\n".join(lines)),
        take_sentence(" ".join(head)),
        {key: say for _, key, say in beside},
    )


# The parts of the page


def make_keys() -> str:
    """Every key of the config, by its first part."""
    from runner.config.schema import RunnerConfig

    parts, plain, meanings = [], [], _read_fields(RunnerConfig)
    for name, kind in typing.get_type_hints(RunnerConfig).items():
        found = next((each for each in _unpack(kind) if dataclasses.is_dataclass(each)), None)
        if found is None and name not in ("provider", "metric"):
            plain.append(_write_key(RunnerConfig, name, kind, name))
        elif found is not None:
            intro = _read_docstring(found)[1]
            lines = "\n".join(_list_keys(found, name, set()))
            parts.append(f"### Keys of {name}\n\n{_wrap(intro or meanings[name])}\n\n{lines}")
    first = "### Keys at the top\n\n" + "\n".join(plain)
    return "\n\n".join([first, *parts])


def _unpack(kind: Any) -> Iterator[Any]:
    yield kind
    for each in typing.get_args(kind):
        yield from _unpack(each)


def _wrap(text: str) -> str:
    options = {"break_long_words": False, "break_on_hyphens": False}
    return "\n\n".join(textwrap.fill(part, WIDTH, **options) for part in text.split("\n\n"))  # type: ignore[arg-type]


def _list_keys(kind: Any, key: str, seen: set[Any]) -> Iterator[str]:
    """The keys of a group and of the groups in it, each kind of group once."""
    seen.add(kind)
    for name, inner in typing.get_type_hints(kind).items():
        group = next((each for each in _unpack(inner) if dataclasses.is_dataclass(each)), None)
        many = typing.get_origin(inner) in (list, dict)
        place = f"{key}.{name}" + ("[…]" if typing.get_origin(inner) is list and group else "")
        is_told = group in seen or getattr(group, "__name__", "") in REPEATED
        if group is None or is_told or getattr(group, "__name__", "") == "StepConfig":
            yield _write_key(kind, name, inner, place)
            continue
        intro = _read_docstring(group)[1].replace("\n\n", " ")
        yield write_item(f"`{place}`", f"{_read_fields(kind).get(name) or 'a group'}. {intro}")
        inside = f"{place}.NAME" if many and typing.get_origin(inner) is dict else place
        yield from _list_keys(group, inside, seen)


REPEATED: set[str] = set()
"""Groups that a section before has told, by name; ``finetune.dataset`` has the keys of ``dataset``."""


def _write_key(kind: type, name: str, annotation: Any, key: str) -> str:
    REPEATED.add(kind.__name__)
    meaning = _read_fields(kind).get(name) or _read_docstring(kind)[0].get(name, "")
    if not meaning and f"`{name}`" not in _read_docstring(kind)[1]:
        raise ValueError(f"{kind.__name__}.{name} has no meaning: write one beside it, behind #")
    field = next(each for each in dataclasses.fields(kind) if each.name == name)
    default: Any = field.default if field.default is not dataclasses.MISSING else None
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    default = _SHIPPED().get(key, default)
    shown = ""
    if dataclasses.is_dataclass(default):
        shown = ""
    elif default == "???":
        shown = "; must be given"
    else:
        shown = f"; `{write_value(default)}`"
    words = name_type(annotation)
    return write_item(f"`{key}` ({words}{shown})", meaning)


@cache
def _SHIPPED() -> dict[str, Any]:
    """Defaults that the option files choose in place of the schema's."""
    found = {"name": yaml.safe_load((CONF / "config.yaml").read_text())["name"]}
    for group, option in (("hyperparameter", "default"), ("tracking", "mlflow")):
        content = yaml.safe_load((CONF / group / f"{option}.yaml").read_text())
        found |= {f"{group}.{key}": value for key, value in content.items()}
    return found


def make_options() -> str:
    """Every option of every group with a line."""
    groups = sorted(folder for folder in CONF.iterdir() if folder.is_dir() and folder.name != "hydra")
    parts = []
    for folder in groups:
        files, told = sorted(folder.rglob("*.yaml")), set[str]()
        parts.append(
            f"### Options of {folder.name}\n\n"
            + "\n".join(_write_option(file, folder, told) for file in files)
        )
    return "\n\n".join(parts)


def _write_option(file: Path, folder: Path, told: set[str]) -> str:
    content, comment, _ = read_option(file)
    if folder.name == "metric":
        comment = _describe_metric(content, comment, told)
    if not comment:
        raise ValueError(f"{file.relative_to(ROOT)} does not begin with a comment that says what it is")
    return write_item(f"`{file.relative_to(folder).with_suffix('').as_posix()}`", comment)


def _describe_metric(content: dict[str, Any], comment: str, told: set[str]) -> str:
    """The metrics of an option, or its class with what is set; then its comment, or (once) its docstring."""
    said = comment[:1].upper() + comment[1:]
    if "defaults" in content:
        names = list_words(f"`{name}`" for name in content["defaults"]).replace(" or ", " and ")
        return f"{names}. {said}" if said else names
    ((_, node),) = content.items()
    kind = resolve_name(node["_target_"])
    fixed = {key: value for key, value in node.items() if key not in ("_target_", "name", "metric")}
    shown = [
        f"`{key}={value}`" for key, value in fixed.items() if value is not None and "${" not in str(value)
    ]
    first = f"`{kind.__name__}`" + (f" with {', '.join(shown)}" if shown else "")
    if not said and kind.__name__ not in told:
        said = take_sentence(kind.__doc__)
        told.add(kind.__name__)
    return f"{first}. {said}" if said else first


def make_providers() -> str:
    """Every setting of the shipped providers, with its default in each; presets have those of their base."""
    settings: dict[str, dict[str, tuple[str, str, str]]] = {}
    for provider in sorted((file.stem for file in (CONF / "provider").glob("*.yaml")), key=_put_chat_first):
        content, _, beside = read_option(CONF / "provider" / f"{provider}.yaml")
        if "defaults" in content:
            continue
        kind = resolve_name(content.pop("_target_"))
        for key, value in content.items():
            inner = [f"{key}.{name}" for name in value] if isinstance(value, dict) else []
            for name in inner or ([] if key.startswith("_") else [key]):
                default = write_value(value[name.partition(".")[2]] if inner else value)
                words = "" if inner else name_type(typing.get_type_hints(kind).get(key, Any))
                meaning = _find_setting(kind, name, beside)
                settings.setdefault(name, {})[provider] = (default, words, meaning)
    return "\n".join(_write_setting(name, by) for name, by in settings.items())


def _put_chat_first(provider: str) -> tuple[int, str]:
    order = ("openai", "openai_compatible", "anthropic", "mistral", "together", "azure", "local", "replay")
    return order.index(provider) if provider in order else len(order), provider


def _find_setting(kind: type, name: str, beside: Mapping[str, str]) -> str:
    first, _, inner = name.partition(".")
    if inner:
        kind, name = resolve_name(f"{kind.__module__.rpartition('.')[0]}.hosting.{first.title()}"), inner
    if found := find_meaning(kind, name, beside):
        return soften(found)
    raise ValueError(f"provider.{name}: {kind.__name__} says nowhere what it means")


def _write_setting(name: str, by: Mapping[str, tuple[str, str, str]]) -> str:
    defaults: dict[str, list[str]] = {}
    meanings: dict[str, list[str]] = {}
    for provider, (default, _, meaning) in by.items():
        defaults.setdefault(f"`{default}`", []).append(provider)
        meanings.setdefault(meaning, []).append(provider)
    words = next(iter(by.values()))[1]
    shown = [f"{default} {', '.join(which)}" for default, which in defaults.items()]
    said = [
        meaning if not at else f"{', '.join(which)}: {meaning}"
        for at, (meaning, which) in enumerate(meanings.items())
    ]
    return write_item(f"`provider.{name}` ({'; '.join(filter(None, [words, *shown]))})", ". ".join(said))


def make_parsers() -> str:
    """Every parser with its arguments."""
    import runner.parse as room

    kinds = [getattr(room, name) for name in room.__all__ if inspect.isclass(getattr(room, name))]
    return "\n\n".join(
        _write_class(kind, f"runner.parse.{kind.__name__}")
        for kind in sorted(kinds, key=lambda k: k.__name__)
    )


def make_metrics() -> str:
    """What all metrics take, and every metric with its own arguments and scores."""
    import runner.metrics as room
    from runner.metrics import calibrated, judged, summary, tournament

    base = room.Metric
    common = "\n".join(_write_argument(base, parameter) for parameter in _list_parameters(base))
    kinds = [
        kind
        for name in sorted(room.__all__)
        if inspect.isclass(kind := getattr(room, name))
        and not inspect.isabstract(kind)
        and name != "Confusion"
    ]
    parts = [_write_class(kind, f"runner.metrics.{kind.__name__}") for kind in kinds]
    for below in (calibrated, judged, summary, tournament):
        inner = [getattr(below, name) for name in sorted(below.__all__)]
        parts += [_write_class(kind, f"{below.__name__}.{kind.__name__}") for kind in inner]
    return "### What all metrics take\n\n" + common + "\n\n" + "\n\n".join(parts)


def _list_parameters(kind: Any) -> list[inspect.Parameter]:
    found = inspect.signature(kind).parameters.values()
    return [each for each in found if each.kind is not inspect.Parameter.VAR_KEYWORD]


def _write_class(kind: Any, name: str) -> str:
    _, text = _read_docstring(kind)
    told = COMMON if name.startswith("runner.metrics.") else ()
    wanted = [
        each
        for each in _list_parameters(kind)
        if each.name not in told or each.default in ("probability", "verdict")
    ]
    lines = [_write_argument(kind, each) for each in wanted]
    direction = _describe_direction(kind)
    scores = "" if "Scores: " in text else _list_scores(kind)
    said = [_wrap(text)]
    if direction or scores:
        said.append(_wrap(". ".join(filter(None, [f"Scores: {scores}" if scores else "", direction])) + "."))
    return "\n\n".join([f"#### `{name}`", *said, *(["\n".join(lines)] if lines else [])])


def _write_argument(kind: Any, parameter: inspect.Parameter) -> str:
    hints = typing.get_type_hints(kind)
    hints = hints if parameter.name in hints else typing.get_type_hints(kind.__init__)
    words = name_type(hints.get(parameter.name, Any))
    given = parameter.default
    fields = {each.name: each for each in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else {}
    if (field := fields.get(parameter.name)) and field.default_factory is not dataclasses.MISSING:
        given = field.default_factory()
    default = "must be given" if given is inspect.Parameter.empty else f"`{write_value(given)}`"
    meaning = "" if given == "probability" else _require_meaning(kind, parameter.name)
    return write_item(f"`{parameter.name}` ({words}; {default})", meaning)


def _require_meaning(kind: Any, name: str) -> str:
    """What a list of the docstring says; nothing where its text, which stands above, tells it."""
    found = find_meaning(kind, name)
    if not found:
        raise ValueError(f"{kind.__name__}: its docstring does not say what `{name}` is")
    return "" if found in " ".join(_read_docstring(kind)[1].split()) else found


def _describe_direction(kind: Any) -> str:
    is_set = "direction" in inspect.signature(kind).parameters
    found = None if is_set else getattr(kind, "direction", None)
    return f"{found.title()} is better" if found in ("higher", "lower") else ""


def _list_scores(kind: Any) -> str:
    """The names of the scores of a metric, as far as its measures tell them."""
    from runner.metrics import Metric

    if not issubclass(kind, Metric):
        return ""
    needed = [each.name for each in _list_parameters(kind) if each.default is inspect.Parameter.empty]
    given = {"positive": 1} if hasattr(kind, "average") else {}
    metric = kind(**dict.fromkeys(needed, "x"), **given)
    names = [f"`{metric.name}{suffix}`" for suffix in metric.measures()]
    return ", ".join(names)


def make_commands() -> str:
    """Every command, its own keys, and which overrides it uses."""
    from runner.cli.arguments import COMMANDS, FOLDERS, READ
    from runner.cli.help import TEXTS
    from runner.config.schema import RunnerConfig

    lines = []
    groups = typing.get_type_hints(RunnerConfig)
    for command, target in COMMANDS.items():
        words = f"`runner {command}`" + (
            f" `[{FOLDERS[command].rpartition('.')[2].upper()}…]`" if command in FOLDERS else ""
        )
        uses = READ.get(command)
        text, _ = TEXTS.get(command) or (resolve_name(target).__doc__, [])
        said = text.removesuffix(".") if command in TEXTS else take_sentence(text)
        keys = [
            f"`{command}.{field.name}`"
            for field in (dataclasses.fields(groups[command]) if command in groups else ())
            if f"{command}.{field.name}" not in FOLDERS.values() and field.name != "named"
        ]
        said += f". Own keys: {', '.join(keys)}" if keys else ""
        others = [name for name in uses or () if name != command]
        said += f". Of the config it uses {', '.join(f'`{name}`' for name in others)}" if others else ""
        lines.append(write_item(words, said))
    return "\n".join(lines)


def make_classes() -> str:
    """The classes that a class of one's own meets, with their members."""
    from runner.core import provider
    from runner.core import types as values
    from runner.metrics import RowMetric

    parts = []
    for kind, name in (
        (provider.Provider, "runner.core.provider.Provider"),
        (values.Request, "runner.core.types.Request"),
        (values.Sampling, "runner.core.types.Sampling"),
        (values.Completion, "runner.core.types.Completion"),
        (values.Parser, "runner.core.types.Parser"),
        (values.Reading, "runner.core.types.Reading"),
        (RowMetric, "runner.metrics.RowMetric"),
        (values.Score, "runner.types.Score"),
    ):
        _, text = _read_docstring(kind)
        lines = [*_list_attributes(kind), *_list_methods(kind)]
        parts.append("\n\n".join([f"#### `{name}`", _wrap(text), *(["\n".join(lines)] if lines else [])]))
    return "\n\n".join(parts)


def _list_attributes(kind: Any) -> Iterator[str]:
    hints = typing.get_type_hints(
        kind, localns={"pl": types.SimpleNamespace(DataFrame=object, Series=object)}
    )
    for name in inspect.get_annotations(kind):
        if name.startswith("_"):
            continue
        found = find_meaning(kind, name)
        told = found in " ".join(_read_docstring(kind)[1].split())
        yield write_item(f"`{name}` ({name_type(hints[name])})", "" if told else found)


def _list_methods(kind: Any) -> Iterator[str]:
    for name, member in vars(kind).items():
        is_own = name == "__call__" or (not name.startswith("_") and member.__doc__)
        if not is_own or not inspect.isfunction(member) or name == "explain":
            continue
        is_async = "async " if inspect.iscoroutinefunction(member) else ""
        signature = re.sub(r"'", "", str(inspect.signature(member)))
        yield write_item(f"`{is_async}{name}{signature}`", take_sentence(member.__doc__))


def make_python() -> str:
    """The functions of the package."""
    import runner

    return "\n".join(
        write_item(
            f"`runner.{name}{str(inspect.signature(getattr(runner, name))).replace(chr(39), '')}`",
            take_sentence(getattr(runner, name).__doc__),
        )
        for name in ("run", "sweep", "load", "compose")
    )


PARTS: dict[str, Callable[[], str]] = {
    "keys": make_keys,
    "options": make_options,
    "providers": make_providers,
    "parsers": make_parsers,
    "metrics": make_metrics,
    "commands": make_commands,
    "classes": make_classes,
    "python": make_python,
}

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(fill(PAGE.read_text()))
