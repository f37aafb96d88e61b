"""All exceptions that this package raises on purpose.

RunnerError                 a problem that the user can solve: shown as one message without traceback
├── ConfigError             a key, a value, an option or an environment variable is wrong
│   └── AccessError         the key, the token or the address of a service is missing
├── DataError               a file, a column or a row is wrong
│   ├── ChoiceError         several values could be meant, and the config chooses none
│   └── LeakageError        evaluated rows would be seen in shots or in training
├── PromptError             a template does not render
├── MetricError             a metric failed on the answers; all else is recorded
├── BudgetError             the run would cost more than it may
├── FailedRowsError         more rows failed than max_failed allows; the scores are kept
└── ProviderError           a call to a model's server failed
    ├── FatalProviderError  every further call would fail the same way: wrong key, no such model
    │   └── WaitError       the server asks to wait for long: the same command goes on later
    └── RetryableError      the same call may succeed later: rate limit, timeout, server fault
"""

from __future__ import annotations

import math
import os
import re
import reprlib
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from runner.core.redact import drop_controls, hide_keys

_LIBRARIES = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
_SETTING = re.compile(r"(?<![\w.])(hyperparameter|provider|prompt)\.(?=[a-z])")
_NOT_OWN = (os.path.join(Path(__file__).parents[1], ""), *_LIBRARIES, "<")


class RunnerError(Exception):
    """Base class of all errors with a message for the user."""

    after_calls: bool = False
    """Whether it was raised when calls could already have been made."""


class ConfigError(RunnerError):
    """A config key, value, option or environment variable is wrong."""


class AccessError(ConfigError):
    """The key, the token or the address of a service is missing, which only calls need.

    ``runner estimate`` makes none, so a check raises this last, after all other mistakes.
    """


class DataError(RunnerError):
    """A data file, column or row is wrong."""


class ChoiceError(DataError):
    """There are several values of ``name`` (a column, or ``*`` in a pointer), and the config chooses none."""

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


class LeakageError(DataError):
    """Rows that are evaluated also appear among the shots or the training rows."""


class PromptError(RunnerError):
    """A prompt template cannot be rendered."""


class MetricError(RunnerError):
    """Metrics failed on the answers. The rows, the usage and the scores of the others are recorded."""


class BudgetError(RunnerError):
    """The run stopped because ``budget_usd`` is used up. Finished rows are kept."""

    least: float = 0.0
    """The smallest budget with which the same command gets further: what one indivisible purchase costs."""

    def __init__(self, message: str, least: float = 0.0) -> None:
        super().__init__(message)
        self.least = least


class FailedRowsError(RunnerError):
    """More rows failed than ``max_failed`` allows. The scores are kept."""


class ProviderError(RunnerError):
    """One call failed for good. Its row has this message in the column ``error``."""

    status: int | None = None
    """The HTTP status, if there was one."""


class FatalProviderError(ProviderError):
    """No further call can succeed (bad key, no such model, no credit): the run stops."""

    refused: bool = False
    """Whether a server refused to answer: a 403, or a 400 that names a parameter.

    It is the row's own error once others were answered.
    """


class WaitError(FatalProviderError):
    """The server asks to wait longer than ``provider.max_wait_s``, or answers nothing for so long.

    The run stops, and can be continued.
    """


class RetryableError(ProviderError):
    """The same call may succeed later.

    ``retry_after`` is the time in seconds that the server asks to wait, or None; what is no finite number of
    at least 0 counts as None. ``limited`` is true for a rate limit (429) and false for a fault.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, limited: bool = False) -> None:
        super().__init__(message)
        is_number = isinstance(retry_after, int | float) and not isinstance(retry_after, bool)
        self.retry_after = retry_after if is_number and 0 <= (retry_after or 0) < math.inf else None
        self.limited = limited


def is_mistake(error: BaseException) -> bool:
    """Whether the input of the user is at fault, and this was found before anything was paid."""
    return isinstance(error, ConfigError | DataError | PromptError) and not error.after_calls


@contextmanager
def note_calls() -> Iterator[None]:
    """Note on an error of the block that calls could already have been made."""
    try:
        yield
    except RunnerError as error:
        error.after_calls = True
        raise


def count_of(number: float, noun: str) -> str:
    """A number with its noun.

    >>> count_of(1, "row"), count_of(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{number:,.0f} {noun}{'' if number == 1 else 's'}"


def show_value(value: object) -> str:
    """A value in one short line."""
    return " ".join(reprlib.repr(value).split())


def quote_text(text: str) -> str:
    r"""A text in quotes on one line, its backslashes as somebody wrote them.

    >>> print(quote_text(r"A: (\d+)"))
    'A: (\d+)'
    """
    return repr(text).replace("\\\\", "\\")


def suggest(word: str, choices: Iterable[str]) -> str:
    """The end of a message about an unknown word: the nearest choice and, if there are few, all of them.

    >>> suggest("acuracy", ["accuracy", "f1"])
    "; did you mean 'accuracy'? (accuracy, f1)"
    """
    known = sorted(choices)
    if not known:
        return ""
    cutoff = 0.66 if len(word) <= 4 else 0.7  # one wrong letter of three is close
    written = {choice.lower(): choice for choice in reversed(known)}  # a wrong case is the nearest of all
    close = get_close_matches(word.lower(), written, n=1, cutoff=cutoff) or _complete(
        word.lower(), sorted(written)
    )
    hint = f"; did you mean {written[close[0]]!r}?" if close else "; known:"
    return f"{hint} ({', '.join(known)})" if len(known) <= 40 else hint.removesuffix("; known:")


def describe_yaml_error(error: Exception) -> str:
    """What is wrong in a YAML file and where: the file, if the parser knows it, line, column and reason."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    reason = str(problem or error).partition("\n")[0]
    if mark is None:
        return reason
    if "quoted scalar" in str(getattr(error, "context", "")) and "end of stream" in reason:
        mark = error.context_mark  # type: ignore[attr-defined]
    reason = next((plain for said, plain in _YAML_REASONS.items() if said in reason), reason)
    file = "" if mark.name.startswith("<") else f"{mark.name}, "
    return f"{file}line {mark.line + 1}, column {mark.column + 1}: {reason}"


_YAML_REASONS = {
    "'\\t' that cannot start": "a tab, which YAML does not allow here; indent with spaces",
    "end of stream": "a quote opens here and is not closed",
    "mapping values are not allowed": "a second ': ' in one value (put quotes around it), or a line that is"
    " indented too far",
    "could not find expected ':'": "a line without ': ', or a quote that is not closed above",
    "another document": "a second document; only one may be in a file, so leave out the ---",
    "expected chomping": "a '>' begins a text of several lines here",
    "expected a comment or a line break": "a '>' or '|' begins a text of several lines here",
    "expected <block end>": "this line is not indented like those that it belongs to",
}
"""What a YAML parser says, in plain words."""


def find_code_line(error: BaseException) -> str:
    """Where in a user's own code an error arose, such as `` (mine.py, line 12, in Mine.complete)``.

    Nothing where no code but the runner's and that of installed packages took part.
    """
    codes = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    lines = [(code.co_filename, line, code.co_qualname) for code, line in codes]
    if isinstance(error, SyntaxError) and error.filename:
        lines.append((error.filename, error.lineno or 1, "<module>"))
    own = [(Path(name), line, function) for name, line, function in lines if not name.startswith(_NOT_OWN)]
    if not own:
        return ""
    file, line, function = own[-1]
    shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file.name
    return f" ({shown}, line {line}{'' if function == '<module>' else f', in {function}'})"


def describe_failure(error: BaseException) -> str:
    """Return the message of an error, with its type unless the provider raised it on purpose."""
    name = type(error).__name__
    try:
        message = hide_keys(drop_controls(str(error).encode(errors="replace").decode()))
    except Exception:  # a fault in the error's own __str__
        return name
    if isinstance(error, ProviderError):
        return message or name
    return f"{name}: {message}" if message else name


def describe_error(error: BaseException) -> str:
    """The type and the first line of an exception, and where in the user's code it arose.

    The result is like ``KeyError: 'a' (mine.py, line 3, in Mine.complete)``.
    """
    return describe_failure(error).partition("\n")[0] + find_code_line(error)


@contextmanager
def name_place(key: str) -> Iterator[None]:
    """Turn what a user's class raises in the block, before any call, into a ConfigError at ``key``."""
    try:
        yield
    except RunnerError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{key}: {describe_error(error)}") from error


def put_keys_below(message: str, places: Mapping[str, str]) -> str:
    """A message about an object's own settings, with the places that its groups have in the config.

    >>> put_keys_below("seed: no (hyperparameter.seed=null leaves it out)", {"hyperparameter": "judge."})
    'seed: no (judge.hyperparameter.seed=null leaves it out)'
    """
    return _SETTING.sub(lambda found: places.get(found[1], "") + found[0], message)


@contextmanager
def name_keys(places: Mapping[str, str]) -> Iterator[None]:
    """Put the keys in what is raised in the block where they are, see :func:`put_keys_below`."""
    try:
        yield
    except RunnerError as error:
        error.args = (put_keys_below(str(error), places),)
        raise


def _complete(word: str, known: list[str]) -> list[str]:
    """The choices that start with a word of three letters or more."""
    return [choice for choice in known if choice.startswith(word)] if len(word) >= 3 else []


def describe_decoding(error: UnicodeDecodeError) -> str:
    """Which line of a file is not UTF-8, and what to do."""
    line = error.object[: error.start].count(b"\n") + 1
    return f"line {line} is not UTF-8; save the file as UTF-8"
