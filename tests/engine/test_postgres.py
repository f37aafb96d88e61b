"""Several machines can share the ledger and the tracking store on one PostgreSQL server."""

from __future__ import annotations

import multiprocessing
import subprocess
import threading
import time

import postgres
import pytest
import sqlalchemy as sa
from servers import serving
from sweeps import POINTS, children, command, environment, odd, points

from runner.engine.ledger import Ledger
from runner.engine.limits import Booking

pytest.importorskip("psycopg", reason="needs the extra postgres")


@pytest.fixture(scope="module")
def cluster():
    try:
        with postgres.running() as url:
            yield url
    except LookupError as reason:
        pytest.skip(str(reason))


@pytest.fixture
def url(cluster, request):
    """Return the URL of a new database for the test."""
    server = sa.create_engine(cluster, isolation_level="AUTOCOMMIT")
    name = request.node.name
    with server.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    server.dispose()
    return sa.make_url(cluster).set(database=name).render_as_string(hide_password=False)


def _take(url, queue, per_minute, count):
    ledger = Ledger(url)
    booking = Booking(ledger, "k", per_minute)
    queue.put((ledger.add("job", "k", "mine"), [booking.take(1) for _ in range(count)]))
    ledger.close()


def test_processes_share(url):
    """Processes that start at once on an empty database share one claim and one pace."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=_take, args=(url, queue, 6000, 100)) for _ in range(3)]
    for worker in workers:
        worker.start()
    claims, starts = zip(*(queue.get(timeout=60) for _ in workers), strict=True)
    for worker in workers:
        worker.join()
    assert sorted(claims) == [False, False, True]
    together = sorted(start for some in starts for start in some)
    assert together[-1] - together[0] >= 299 / 100 - 0.5 - 0.25 * 3


def test_entries(url):
    """The ledger behaves on a server as in a file."""
    ledger = Ledger(url)
    ledger.put_many("completion", {str(n): {"text": "é\\"} for n in range(1200)})
    ledger.put("completion", "1", {"text": None})
    assert len(ledger.get_many("completion", map(str, range(2000)))) == 1200
    assert ledger.get("completion", "1") == {"text": None}
    assert ledger.swap("completion", "1", {"text": None}, 2)
    assert not ledger.swap("completion", "1", {"text": None}, 3)
    ledger.remove("completion", "1")
    assert ledger.get("completion", "1") is None
    ledger.close()


def test_a_restart_is_sat_out(url, caplog):
    """While the server restarts every call waits; nothing is lost or done twice."""
    ledger = Ledger(url)
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        folder = connection.execute(sa.text("SHOW data_directory")).scalar_one()
    engine.dispose()
    restarting = threading.Thread(target=postgres.restart, args=(folder, 0.5))
    restarting.start()
    added = []
    while restarting.is_alive():
        number = len(added)
        added.append(ledger.add("job", str(number), number) and ledger.swap("job", str(number), number, -1))
        ledger.put("completion", str(number), {"text": "t"})
    restarting.join()
    assert all(added)
    assert len(ledger.get_many("completion", map(str, range(len(added))))) == len(added)
    assert "the ledger's database is gone, waiting" in caplog.text
    ledger.close()


def test_two_machines(url, tmp_path):
    """Two sweeps at once in two folders, with ledger and tracking store on one server: the same results, each
    answer bought by at most both, and then free for a third."""
    shared = [f"ledger.url={url}", f"tracking.uri={url}"]
    with serving(odd) as server:
        folders = [tmp_path / name for name in ("one", "two", "three")]
        commands = []
        for folder in folders:
            folder.mkdir()
            place = ["tracking=none", shared[0]] if folder.name == "three" else shared
            commands.append(command(folder, server.url)("-m", "hydra/launcher=concurrent", POINTS, *place))
        started = [start(commands[number], folders[number]) for number in (0, 1)]
        for process in started:
            said = process.communicate(timeout=180)[0]
            assert process.returncode == 0, said
        asked = len(server.calls)
        third = start(commands[2], folders[2])
        assert third.wait(timeout=120) == 0
        third.stdout.close()
    assert 24 <= asked <= 48
    assert len(server.calls) == asked
    scores = [[point.scores["accuracy"].value for point in points(folder)] for folder in folders]
    assert scores[0] == scores[1] == scores[2] == pytest.approx([5 / 6, 1, 1, 1])
    assert [len(names) for names in children(url).values()] == [8]


def start(command, folder):
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_budget_is_shared(url):
    """Bookings for one account from two ledgers follow each other."""
    first, second = Ledger(url), Ledger(url)
    one, other = Booking(first, "b", 600), Booking(second, "b", 600)
    began = time.time()
    starts = sorted(booking.take(1) for _ in range(20) for booking in (one, other))
    assert starts[-1] - began >= 39 / 10 - 0.5 - 0.5
    first.close()
    second.close()
