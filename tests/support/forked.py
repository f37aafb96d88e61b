"""What a process that will be killed needs, imported before it is forked (``children``)."""

import sys
from importlib import import_module
from pathlib import Path

from runner.providers.http.certificates import make_ssl_context

sys.path.insert(0, str(Path(__file__).parent))
for name in (
    "anyio.streams.tls",
    "encodings.idna",
    "h11",
    "hosted_batch",
    "hosted_together",
    "httpcore2",
    "messages",
    "sqlalchemy.dialects.sqlite",
    "stringprep",
    "uvloop",
    "aiohttp",
):
    import_module(name)
make_ssl_context()
