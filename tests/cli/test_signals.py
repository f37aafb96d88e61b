"""SIGTERM and SIGHUP end a run like Ctrl-C, whatever it does: docker stop, Slurm's limit, a lost terminal."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from children import process_of
from hosted import KEY
from servers import serving
from training import Hosting, at_azure, write_training

from runner.cli import main
from runner.engine.event_loop import end_on_signals
from runner.engine.ledger import Ledger
from runner.pipeline.hosting import DEPLOYMENT

STEPS = {
    "upload": ("POST", "/files"),
    "create": ("POST", "/jobs"),
    "wait": ("GET", "/jobs/ftjob-1"),
    "deploy": ("PUT", "/deployments/"),
    "ask": ("POST", "/completions"),
    "delete": ("DELETE", "/deployments/"),
}
"""Method and part of the path of a call during which the signal comes."""


class Stopping(Hosting):
    """The service; it sends signals to the process that makes the n-th call of a step, and the next ones."""

    def stop_at(self, step, child, number=1, sent=(signal.SIGTERM,)):
        self.step, self.child, self.left, self.sent = STEPS.get(step, (None, "")), child, number, list(sent)

    def __call__(self, call):
        reply = super().__call__(call)
        if call.method == self.step[0] and self.step[1] in call.path:
            self.left -= 1
            if self.left <= 0 and self.sent:
                os.kill(self.child.pid, self.sent.pop(0))
                time.sleep(0.1)
        return reply


def run_alone(folder: Path, arguments: list[str], in_mlflow: bool = False) -> None:
    """The command line in a process of its own; nothing waits."""
    import runner.cli.watch
    import runner.providers.azure.tuning
    import runner.providers.hosting

    runner.providers.azure.tuning.RETRIES = 0
    runner.providers.azure.tuning.POLL_S = runner.providers.hosting.POLL_S = 0.01
    if in_mlflow:
        runner.cli.watch.tracking.log_run = lambda *_: os.kill(os.getpid(), signal.SIGTERM)
        arguments = [*arguments, "tracking.enabled=true"]
    os.chdir(folder)
    sys.argv = ["runner", *arguments]
    sys.stdout = sys.stderr = (folder / "said").open("w")
    main.main()


def stop(folder: Path, api: Stopping, step: str, *more: str, **when) -> tuple[int, str, list[str]]:
    """Run and stop at a step; return the exit code, what was said, and the states of the records."""
    with serving(api) as server:
        arguments = [*write_training(folder), *at_azure(server.url), *more]
        child = process_of(run_alone, folder, arguments, step == "mlflow")
        api.stop_at(step, child, **when)
        child.start()
        child.join(60)
        assert child.exitcode is not None, child.kill()
    states = [json.loads(file.read_text())["status"] for file in folder.glob("outputs/**/record.json")]
    return child.exitcode, (folder / "said").read_text(), states


@pytest.fixture(autouse=True)
def _key(monkeypatch) -> None:
    monkeypatch.setenv("TOKEN", KEY)


@pytest.mark.parametrize("step", [*STEPS, "mlflow"])
def test_at_each_step(step, tmp_path):
    """No deployment is left, the record tells, and so does the last line how to go on."""
    api = Stopping()
    code, said, states = stop(tmp_path, api, step)
    assert (code, states) == (143, ["finished" if step == "mlflow" else "stopped"]), said
    assert api.deployments == {}
    assert "stopped; what is finished is kept. To go on: runner --config-dir mine" in said
    with closing(Ledger(f"sqlite:///{tmp_path}/outputs/ledger.db")) as ledger:
        assert list(ledger.items(DEPLOYMENT)) == []


@pytest.mark.parametrize("step", ["wait", "ask"])
def test_points_as_threads(step, tmp_path):
    """A signal reaches only the main thread; the points end all the same, also while they sleep."""
    api = Stopping(states=("running",) if step == "wait" else ("succeeded",))
    sweep = ["-m", "hydra/launcher=concurrent", "checkpoint=1,last", "finetune.poll_s=0.05"]
    began = time.monotonic()
    code, said, states = stop(tmp_path, api, step, *sweep, number=3, sent=[signal.SIGHUP])
    assert (code, states, api.deployments, len(api.jobs)) == (129, ["stopped"] * 2, {}, 1), said
    assert time.monotonic() - began < 30


def test_the_second_signal(tmp_path):
    """It ends at once, and what is left is said."""
    api = Stopping(keeps=503)
    began = time.monotonic()
    code, said, _ = stop(tmp_path, api, "delete", sent=[signal.SIGTERM] * 2)
    assert (code, len(api.deployments)) == (143, 1)
    assert "was not deleted (it was interrupted)" in said
    assert time.monotonic() - began < 20


def test_what_is_handled_otherwise_stays_so(monkeypatch):
    """nohup ignores SIGHUP, and submitit has a handler of its own."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    handled = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with end_on_signals() as came:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
        assert came == []
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with end_on_signals() as came, end_on_signals() as inner:
            with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
                os.kill(os.getpid(), signal.SIGTERM)
            assert (came, inner) == ([signal.SIGTERM], [])
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
        signal.signal(signal.SIGTERM, handled)
