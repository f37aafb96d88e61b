"""The file ``.env`` of the working folder: environment variables, such as keys, that are not set yet."""

from __future__ import annotations

from pathlib import Path

from runner.core.errors import ConfigError

ENV_FILE = Path(".env")


def load_env_file(file: Path = ENV_FILE) -> None:
    """Set the environment variables of a file of lines ``NAME=value``, never over one that is set.

    Raises :class:`ConfigError` naming a line that is something else; the message does not repeat it.
    """
    if not file.is_file():  # a virtual environment may have this name
        return
    from dotenv import load_dotenv
    from dotenv.parser import parse_stream

    try:
        with file.open(encoding="utf-8-sig") as lines:
            for line in parse_stream(lines):
                if line.error or (line.key is not None and line.value is None):
                    raise ConfigError(f"{file}, line {line.original.line}: it is not NAME=value")
        load_dotenv(file, override=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: it cannot be read ({error})") from error
