"""Training curves from the result files of hosted fine-tuning."""

from __future__ import annotations

import base64
import binascii
import csv
import io
import math

from runner.core.errors import DataError

Curve = list[tuple[int, float]]
SENTINEL = -1.0  # "not measured at this step", in Azure's files


def parse_curves(content: bytes) -> dict[str, Curve]:
    r"""Each column of a result file against its column ``step``; columns without a value are left out.

    The content is CSV, plain or base64-encoded. Blanks, NaN and (except for rewards) -1 mean not measured.

    >>> parse_curves(b"step,train_loss,valid_loss\n1,2.5,\n2,1.5,-1\n")
    {'train_loss': [(1, 2.5), (2, 1.5)]}
    """
    reader = csv.DictReader(io.StringIO(_decode_text(content)))
    names = [name for name in reader.fieldnames or [] if name and name != "step"]
    if "step" not in (reader.fieldnames or []):
        raise DataError(f"result file: no column 'step' among {', '.join(names) or 'none'}")
    curves: dict[str, Curve] = {name: [] for name in names}
    for row in reader:
        step = _parse_number(row["step"])
        for name in names if step is not None else ():
            value = _parse_number(row[name])
            if value is not None and (value != SENTINEL or "reward" in name):
                curves[name].append((int(step or 0), value))
    return {name: curve for name, curve in curves.items() if curve}


def _decode_text(content: bytes) -> str:
    """The file as text. Base64 has no comma, and every CSV file here has one."""
    if b"," not in content:
        try:
            content = base64.b64decode(b"".join(content.split()), validate=True)
        except binascii.Error as error:
            raise DataError("result file: neither CSV nor base64") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError("result file: not UTF-8 text") from error


def _parse_number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
