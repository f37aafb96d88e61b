"""An export made on one machine is reproduced on another."""

from __future__ import annotations

import json
import shutil
import zipfile

import pytest
from adding import Sums, answer
from commandline import CommandLine
from hosted import KEY
from servers import serving


@pytest.fixture
def sums(runner, monkeypatch):
    """A run with a judge and a prompt file, whose key is gone afterwards."""
    monkeypatch.setenv("SUMS_KEY", KEY)
    (runner.folder / "prompts").mkdir()
    (runner.folder / "prompts" / "sums.jinja").write_text("{{ question }}\n")
    with serving(answer) as server:
        made = Sums(runner, server)
        keys = ["provider.api_key_env=SUMS_KEY", "judge.provider.api_key_env=SUMS_KEY"]
        assert made(*made.judge, *keys, "prompt.user=sums.jinja").code == 0
    monkeypatch.delenv("SUMS_KEY")
    return made


@pytest.fixture
def elsewhere(runner, sums, capsys, monkeypatch, tmp_path_factory):
    """The command line on another machine: a fresh folder, the first one's data, ledger and prompts gone."""

    def move(*kept):
        folder = tmp_path_factory.mktemp("elsewhere")
        for name in kept:
            shutil.move(runner.folder / name, folder / name)
        shutil.rmtree(runner.folder)
        runner.folder.mkdir()
        return CommandLine(folder, capsys, monkeypatch)

    return move


def run_of(folder):
    (found,) = folder.glob("outputs/runs/*")
    return found.relative_to(folder)


@pytest.mark.parametrize("name", ["paper.zip", "export.json", "ledger.jsonl", "prompts/prompt.user.jinja"])
def test_a_broken_export_is_named(runner, sums, name):
    """What cannot be read is refused with its name."""
    assert runner("export", str(run_of(runner.folder)), "export.to=paper").code == 0
    shutil.make_archive("paper", "zip", "paper")
    broken = runner.folder / (name if name == "paper.zip" else f"paper/{name}")
    content = broken.read_bytes()
    broken.write_bytes(content[:200] + b"\xff" * 40 + content[240:])
    outcome = runner("reproduce", "paper.zip" if name == "paper.zip" else "paper")
    assert outcome.code == 2
    assert name.partition("/")[0] in outcome.err


def test_reproduced_elsewhere(runner, sums, elsewhere):
    """One file is enough: nothing is asked, there is no key, and the first ledger is deleted."""
    outcome = runner("export", str(run_of(runner.folder)), "export.to=paper.zip", "export.data=true")
    assert outcome.out.startswith("paper.zip: 1 run, 20 answers, 1 data file with content")
    other = elsewhere("paper.zip")
    outcome = other("reproduce", "paper.zip")
    assert outcome.code == 0, outcome.out + outcome.err
    assert "verdict_share_parsed  1.000  1.000  0" in outcome.out
    assert [path.name for path in other.folder.iterdir()] == ["paper.zip"]


def test_files_of_a_pattern_travel(runner, sums, elsewhere):
    """All archives that fit are in the export, and there mean the same rows."""
    (runner.folder / "runs").mkdir()
    lines = (runner.folder / "rows.jsonl").read_text().splitlines(keepends=True)
    for number in range(2):
        with zipfile.ZipFile(runner.folder / "runs" / f"{number}.zip", "w") as packed:
            packed.writestr("rows.jsonl", "".join(lines[number::2]))
    assert sums("dataset.path='runs/*.zip!rows.jsonl'").code == 0
    folder = max((runner.folder / "outputs" / "runs").iterdir()).relative_to(runner.folder)
    outcome = runner("export", str(folder), "export.to=paper", "export.data=true")
    assert outcome.out.startswith("paper: 1 run"), outcome.out + outcome.err
    (entry,) = json.loads((runner.folder / "paper" / "export.json").read_text())["data"]
    assert entry["file"] == f"data/{entry['sha256'][:12]}/*.zip!rows.jsonl"
    outcome = elsewhere("paper")("reproduce", "paper")
    assert outcome.code == 0, outcome.out + outcome.err


def test_data_stays_at_home(runner, sums, elsewhere):
    """Without ``export.data`` a file is only named with its hash; elsewhere only the data is missing."""
    assert runner("export", str(run_of(runner.folder)), "export.to=paper").code == 0
    manifest = json.loads((runner.folder / "paper" / "export.json").read_text())
    (file,) = manifest["data"]
    assert (file["path"], len(file["sha256"]), file["file"]) == ("rows.jsonl", 64, None)
    other = elsewhere("paper", "rows.jsonl")
    assert other("reproduce", "paper").code == 0
    (other.folder / "rows.jsonl").unlink()
    outcome = other("reproduce", "paper")
    assert outcome.code == 1
    assert outcome.err == "error: not reproduced: paper: data\n"


def test_its_own_texts(runner, sums, elsewhere):
    """A prompt that differs elsewhere is noticed; the text of the export is replayed."""
    runner("export", str(run_of(runner.folder)), "export.to=paper", "export.data=true")
    other = elsewhere("paper")
    (other.folder / "prompts").mkdir()
    (other.folder / "prompts" / "sums.jinja").write_text("{{ question }}, please\n")
    outcome = other("reproduce", "paper")
    assert outcome.err == "error: not reproduced: paper: prompt.user\n"


def test_changed_answer(runner, sums, elsewhere):
    """An answer that was changed in an export is found, since the predictions contain it, too."""
    runner("export", str(run_of(runner.folder)), "export.to=paper", "export.data=true")
    ledger = runner.folder / "paper" / "ledger.jsonl"
    ledger.write_text(ledger.read_text().replace('"text": "12"', '"text": "13"'))
    outcome = elsewhere("paper")("reproduce", "paper")
    assert ["sums:6", "completion", "12", "13"] in [line.split() for line in outcome.out.splitlines()]
    assert outcome.code == 1


def test_sweep(runner, sums, elsewhere):
    """A sweep is one export, and each of its points is reproduced."""
    shutil.rmtree(runner.folder / "outputs")
    with serving(answer) as server:
        Sums(runner, server)("-m", "hyperparameter.temperature=0,1")
    (sweep,) = runner.folder.glob("outputs/sweeps/*")
    assert runner("export", str(sweep), "export.data=true").code == 0
    (made,) = runner.folder.glob("outputs/exports/*.zip")
    assert made.stem == sweep.name
    shutil.move(made, runner.folder / "sweep.zip")
    outcome = elsewhere("sweep.zip")("reproduce", "sweep.zip")
    assert [line.split("/")[1] for line in outcome.out.splitlines()] == ["0: reproduced", "1: reproduced"]


def test_no_secrets(runner, sums):
    """Credentials in an address stay on this machine, and so does Hydra's own file."""
    (folder,) = runner.folder.glob("outputs/runs/*")
    text = (folder / "record.json").read_text()
    (folder / "record.json").write_text(text.replace('"uri": null', '"uri": "http://me:pass@host"'))
    runner("export", str(folder), "export.to=paper.zip")
    with zipfile.ZipFile(runner.folder / "paper.zip") as file:
        texts = {name: file.read(name) for name in file.namelist()}
    assert b"http://***@host" in texts["record.json"]
    assert not any(word in text for text in texts.values() for word in (b"me:pass", KEY.encode()))
    assert ".hydra/hydra.yaml" not in texts


def test_changed_data_is_not_exported(runner, sums):
    """Data that changed since the run is not exported as if it had not."""
    sums.write(["1 + 1"])
    run = str(run_of(runner.folder))
    outcome = runner("export", run, "export.data=true")
    assert (outcome.code, "changed since the run: data test" in outcome.err) == (2, True)
    assert runner("export", run, "export.to=paper").code == 0
    assert json.loads((runner.folder / "paper" / "export.json").read_text())["data"][0]["sha256"] is None


def test_nothing_is_replaced(runner, sums):
    """An export never overwrites a file, and leaves nothing incomplete."""
    (runner.folder / "paper.zip").write_text("mine")
    outcome = runner("export", str(run_of(runner.folder)), "export.to=paper.zip")
    assert (outcome.code, (runner.folder / "paper.zip").read_text()) == (2, "mine")
    assert "export.to=paper.zip: already exists" in outcome.err
    assert not list(runner.folder.glob(".partial*"))
