"""A PostgreSQL server of the test's own, from the system's packages, in a temporary folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "postgres"


def programs() -> Path | None:
    """The folder of ``initdb`` and ``pg_ctl``, which Debian keeps out of the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda file: file.parts[4])
    plain = shutil.which("pg_ctl")
    return found[-1].parent if found else Path(plain).parent if plain else None


@contextmanager
def running() -> Iterator[str]:
    """The URL of a fresh server, for psycopg; raises ``LookupError`` where none can be had."""
    bin_folder = programs()
    if bin_folder is None:
        raise LookupError("needs PostgreSQL (Debian: apt-get install postgresql)")
    port = _free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o777)
        data = f"{folder}/data"
        _run(bin_folder / "initdb", "-D", data, "-A", "trust", "-U", USER, "--no-sync", "-E", "UTF8")
        settings = f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -k {folder}"
        _run(bin_folder / "pg_ctl", "-D", data, "-w", "-o", settings, "-l", f"{folder}/log", "start")
        try:
            yield f"postgresql+psycopg://{USER}@127.0.0.1:{port}/{USER}"
        finally:
            _run(bin_folder / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")


def restart(folder: str, pause_s: float) -> None:
    """Stop the server of a data folder, which ends all connections, and start it again after a pause."""
    program = programs()
    assert program
    options = Path(folder, "postmaster.opts").read_text().split(" ", 1)[1].replace('"', "")
    _run(program / "pg_ctl", "-D", folder, "-w", "-m", "fast", "stop")
    time.sleep(pause_s)
    settings = options.split(f"-D {folder}")[-1].strip()
    _run(program / "pg_ctl", "-D", folder, "-w", "-o", settings, "-l", f"{folder}/../log", "start")


def _run(program: Path, *arguments: str) -> None:
    """PostgreSQL refuses to run as root."""
    as_user = ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []
    command = [*as_user, str(program), *arguments]
    done = subprocess.run(command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise LookupError(f"PostgreSQL does not start here: {done.stderr}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
