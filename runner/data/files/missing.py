"""Say what is wrong with the path of a file that is not there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runner.core.errors import suggest
from runner.data.files.archive import is_pattern


def describe_missing(path: str, places: Sequence[Path]) -> str:
    """The end of a message that begins with the key, such as ``='a.csv': no such file in …; did you mean …``.

    Where a folder is missing, only that is said, so that it is the same for all files that would be in it.
    """
    where = "" if Path(path).is_absolute() else f" in {', '.join(map(str, places))}"
    if folder := _find_missing_folder(path, places):
        near = _list_names(folder.parent, places, folders=True)
        return f": there is no folder {str(folder)!r}{where}{suggest(folder.name, near)}"
    if is_pattern(path):
        return f"={path!r}: no file fits the pattern{where}"
    if any((place / path).is_dir() for place in places):
        return f"={path!r}: is a folder; {path}/* means the files in it"
    names = _list_names(Path(), places) | _list_names(Path(path).parent, places)
    return f"={path!r}: no such file{where}{suggest(Path(path).name, names)}"


def _find_missing_folder(path: str, places: Sequence[Path]) -> Path | None:
    """The first folder of a path that none of the places has; none below one that a pattern leaves open."""
    for folder in reversed(Path(path).parents):
        if is_pattern(str(folder)):
            return None
        if not any((place / folder).is_dir() for place in places):
            return folder
    return None


def _list_names(folder: Path, places: Sequence[Path], folders: bool = False) -> set[str]:
    """The names of the files, or of the folders, that are in a folder of one of the places."""
    entries = [entry for place in places if (place / folder).is_dir() for entry in (place / folder).iterdir()]
    return {entry.name for entry in entries if (entry.is_dir() if folders else entry.is_file())}
