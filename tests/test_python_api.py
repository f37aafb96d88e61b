"""The same experiments from Python: in a running event loop, twice in one process, fast to import."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import subprocess
import sys
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor

import hydra
import pytest
from adding import Sums, answer
from hydra.core.global_hydra import GlobalHydra
from places import ROOT
from servers import Reply, serving

import runner as api
from runner.cli import api as cli_api
from runner.core.errors import ConfigError, ProviderError, RunnerError


@pytest.fixture
def sums(runner, monkeypatch):
    monkeypatch.chdir(runner.folder)
    with serving(answer) as server:
        yield Sums(runner, server)


def test_a_run(sums):
    """A run gives its record, its rows and its scores, and is loaded again from its folder."""
    result = api.run(sums.experiment)
    assert (result.record.status, result.scores["accuracy"].n) == ("finished", 10)
    assert result.frame["completion"].to_list() == [str(2 * n) for n in range(10)]
    assert api.load(result.folder).record == result.record
    assert repr(result).splitlines()[0] == f"finished: {result.folder}"
    assert repr(result).splitlines()[1].startswith("  accuracy 0.100 (")


def test_twice_and_in_a_running_loop(sums):
    """As in Jupyter: the loop is running, and the second run finds what the first has bought."""

    async def cells():
        return [api.run(sums.experiment).record.figures["calls"] for _ in range(2)]

    assert asyncio.run(cells()) == [10, 0]


def test_a_sweep(sums):
    """A sweep gives the results of its points and one table of them; a mistaken point stops all."""
    sweep = ["dataset.limit=2,3", "hydra/launcher=concurrent"]
    results, summary = api.sweep([*sums.experiment, *sweep])
    assert [result.frame.height for result in results] == [2, 3]
    assert summary["limit"].to_list() == [2, 3]
    assert repr(api.load(results[0].folder.parent)) == f"2 points\n{summary}"
    assert api.load(results[0].folder.parent).summary.equals(summary)
    with pytest.raises(ConfigError, match=r"\[1\] dataset.path='gone.jsonl'"):
        api.sweep([*sums.experiment, "dataset.path=rows.jsonl,gone.jsonl"])


def test_config_dir(sums):
    """A folder of own options is found, also for composing alone."""
    overrides = [override for override in sums.experiment if override not in ("--config-dir", "mine")]
    assert api.compose(overrides, config_dir="mine").dataset.name == "sums"
    assert api.run(overrides, config_dir="mine").record.name == "sums"


@pytest.mark.parametrize("name", ["müller, (x)", "it's=~here"])
def test_config_dir_of_any_name(sums, name):
    """Letters that mean something to Hydra are part of the name."""
    (sums.folder / "mine").rename(sums.folder / name)
    overrides = [override for override in sums.experiment if override not in ("--config-dir", "mine")]
    assert api.compose(overrides, config_dir=name).dataset.name == "sums"
    assert api.run(overrides, config_dir=name).record.name == "sums"
    for call in (api.compose, api.run):
        with pytest.raises(ConfigError, match="config_dir='gone': no such folder"):
            call(overrides, config_dir="gone")


def test_beside_another_use_of_hydra(sums):
    """A notebook's own Hydra is as before, and composes as before."""
    (sums.folder / "own.yaml").write_text("thing: {_target_: os.getcwd, a: 1}\nx_env: ''")
    with hydra.initialize_config_dir(str(sums.folder), version_base="1.3"):
        own = GlobalHydra.instance().hydra
        api.run(sums.experiment)
        api.sweep([*sums.experiment, "dataset.limit=1,2", "hydra/launcher=concurrent"])
        assert GlobalHydra.instance().hydra is own
        config = hydra.compose("own", ["thing={_target_: os.getpid}", "x_env=no name"])
    assert config == {"thing": {"_target_": "os.getpid", "a": 1}, "x_env": "no name"}


def test_from_several_threads(sums):
    """Calls wait for one another, since a process has one Hydra."""
    limits = [1, 2, 3, 1, 2, 3]
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda n: api.run([*sums.experiment, f"dataset.limit={n}"]), limits))
    assert [result.frame.height for result in results] == limits


def test_a_point_with_any_fault_keeps_the_others(sums, monkeypatch):
    """An error that this package did not raise is its point's alone, too."""
    carry_out = cli_api.carry_out

    def fail_once(config):
        if config.dataset.limit == 1:
            raise ValueError("odd")
        return carry_out(config)

    monkeypatch.setattr(cli_api, "carry_out", fail_once)
    results, _ = api.sweep([*sums.experiment, "dataset.limit=2,1"])
    assert [result.frame.height for result in results] == [2]


@pytest.mark.parametrize("subdir", ["p${hydra.job.num}", "${hydra.job.override_dirname}"])
def test_points_in_folders_of_any_name(sums, subdir):
    """Hydra lets the user name them."""
    results, summary = api.sweep([*sums.experiment, "dataset.limit=2,10", f"hydra.sweep.subdir={subdir}"])
    assert [result.frame.height for result in results] == [2, 10]
    assert summary["limit"].to_list() == [2, 10]


def test_points_in_folders_of_folders(sums, copy_store):
    """The sweep has one parent run, which is noted in its own folder."""
    tracked = [override for override in sums.experiment if override != "tracking=none"]
    store = f"tracking.uri=sqlite:///{copy_store(sums.folder / 'mlflow.db')}"
    api.sweep([*tracked, store, "dataset.limit=2,3", "hydra.sweep.subdir=of/${hydra.job.num}"])
    (notes,) = sums.folder.glob("outputs/**/sweep.json")
    assert notes.parent.parent.name == "sweeps"


def test_mistakes_are_exceptions(sums):
    """In the words of the command line; nothing is printed and the process goes on."""
    with pytest.raises(ConfigError, match="did you mean 'n_shot'"):
        api.run(["hyperparameter.n_sot=3"])
    with pytest.raises(ConfigError, match="datset: no such key"):
        api.compose(["datset=fib"])
    with pytest.raises(ConfigError, match="neither a run nor a sweep"):
        api.load("nowhere")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["-m", "seed=1"], "use runner.sweep"),
        (["hydra.mode=MULTIRUN"], "use runner.sweep"),
        (["hyperparameter.n_shot=1,2"], "n_shot=1,2: use runner.sweep"),
        (["--cfg", "job"], "--cfg is an option of the command line"),
        ([{"dataset.limit": 5}], r"expected texts, such as .*got {'dataset.limit': 5}"),
        ("dataset.limit=5", r"expected a list, such as \['dataset.limit=5'\]"),
    ],
)
def test_only_overrides_of_one_run(runner, monkeypatch, overrides, message):
    """What is not a list of overrides for one run is refused, and nothing is recorded."""
    monkeypatch.chdir(runner.folder)
    with pytest.raises(ConfigError, match=message):
        api.run(overrides)
    assert not list(runner.folder.iterdir())


@pytest.mark.parametrize("mistake", ["hyperparameter.n_sot=3", "prompt.user=no.jinja"])
def test_a_mistake_has_a_short_traceback(sums, monkeypatch, capsys, mistake):
    """It shows no frame of Hydra, nothing else is printed, and the environment is as before."""
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(ConfigError) as caught:
        api.run([*sums.experiment, mistake])
    assert len("".join(traceback.format_exception(caught.value)).splitlines()) < 20
    assert capsys.readouterr().err == ""
    assert "HYDRA_FULL_ERROR" not in os.environ


def test_a_failed_run_raises_its_reason(sums):
    """The error that stopped a run, with the record on disk."""
    with serving(lambda call: Reply({"error": {"message": "no such key"}}, status=401)) as refusing:
        experiment = [*sums.experiment, f"provider.base_url={refusing.url}/v1"]
        with pytest.raises(ProviderError, match="no such key"):
            api.run(experiment)
    assert [record.status for record in sums.records()] == ["failed"]


def test_a_run_without_rows_has_their_columns(sums, capsys):
    """The frame of a run that failed before its first call is empty, and the run shows its reason."""
    (sums.folder / "broken.db").write_text("no database" * 100)
    with pytest.raises(RunnerError):
        api.run([*sums.experiment, "ledger.url=sqlite:///broken.db"])
    (folder,) = sums.folder.glob("outputs/runs/*")
    failed = api.load(folder)
    assert failed.frame.select("id", "target", "completion", "prediction", "error").is_empty()
    assert "ledger.url: cannot open" in repr(failed)


def test_logging_stays_the_notebooks_own(sums):
    """What Hydra sets up for a run is gone after it."""
    before = logging.root.handlers[:], logging.root.level, warnings.showwarning
    api.run(sums.experiment)
    api.sweep([*sums.experiment, "hydra/launcher=concurrent"])
    assert (logging.root.handlers[:], logging.root.level, warnings.showwarning) == before


def test_import_is_quick():
    """``import runner`` takes no more than three times what asyncio takes, and nothing heavy along."""
    code = "import time; t = time.process_time(); import {}; print(time.process_time() - t); import sys"
    code += "; print(*{{'polars', 'hydra', 'mlflow', 'numpy', 'omegaconf'}} & set(sys.modules))"
    said = {name: [run_python(code.format(name)).split() for _ in range(3)] for name in ("runner", "asyncio")}
    times = {name: min(float(time) for time, *_ in runs) for name, runs in said.items()}
    assert times["runner"] < 3 * times["asyncio"]
    assert [heavy for _, *heavy in said["runner"]] == [[]] * 3


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_names_for_authors_of_own_classes():
    """What own providers, parsers and metrics import stays where it was."""
    from runner.errors import RetryableError
    from runner.types import Completion, Provider, Request, Sampling, Score

    assert RetryableError.__module__ == "runner.core.errors"
    assert {kind.__name__ for kind in (Completion, Provider, Request, Sampling, Score)}


def test_the_readmes_example(runner, monkeypatch, shared_data, copy_store):
    """The ten lines that the README shows run as they stand there."""
    text = (ROOT / "README.md").read_text()
    (code,) = re.findall(r"```python\n(import runner\n.*?)```", text, re.S)
    assert len(code.strip().splitlines()) <= 10
    monkeypatch.chdir(runner.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{copy_store(runner.folder / 'mlflow.db')}")
    exec(code, {})
    assert len(runner.records()) == 3
