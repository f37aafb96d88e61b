"""A folder or zip that somebody sent: its addresses, classes and links are not trusted."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import threading
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from adding import CONFIG, answer
from hosted import KEY
from servers import serving

import runner as api
from runner.config.dataset_schema import FileConfig
from runner.core.errors import ConfigError, DataError
from runner.data.fetch import locate
from runner.reproduce.addresses import Own, guard_files
from runner.reproduce.archive import unpack
from runner.reproduce.export import export
from runner.reproduce.past_run import Export, find_export, read_past_run

PASSWORD = "the-password-of-the-ledger"
EXPERIMENT = ["dataset=sums", "prompt=sums", "metric=accuracy", "tracking=none", "provider.model=adder"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run and its ledger, made once."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch, serving(answer) as server:
        patch.chdir(folder)
        rows = [{"question": f"{n} + {n}", "target": f"{2 * n}"} for n in range(4)]
        Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
        for name, text in CONFIG.items():
            Path("mine", name).parent.mkdir(parents=True)
            Path("mine", name).write_text(text)
        url = f"provider.base_url={server.url}/v1"
        api.run([*EXPERIMENT, "provider=openai_compatible", url], config_dir="mine")
    return folder


@pytest.fixture
def sent(made, runner, monkeypatch):
    """``sent(change)``: the run with its record changed, as it comes to somebody who has keys to lose."""
    shutil.copytree(made, runner.folder, dirs_exist_ok=True)
    for name in ("OPENAI_API_KEY", "MISTRAL_API_KEY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    (folder,) = runner.folder.glob("outputs/runs/*")

    def send(change=lambda record: None):
        record = json.loads((folder / "record.json").read_text())
        change(record)
        (folder / "record.json").write_text(json.dumps(record))
        return str(folder.relative_to(runner.folder))

    return send


@pytest.fixture
def listener():
    """A stranger's server that is no HTTP server, and what it heard."""
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    heard.append(connection.recv(64))

        threading.Thread(target=listen, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}", heard
        server.shutdown(socket.SHUT_RDWR)


def lose_answers(folder):
    """No ledger and no answers here, so that ``reproduce.ask`` has something to ask."""
    shutil.rmtree(folder / "outputs" / "ledger.db", ignore_errors=True)
    for file in folder.glob("outputs/ledger*"):
        file.unlink()


def test_ledger_url(sent, runner, listener):
    """No database that only the record names is spoken to; the command line may name it."""
    address, heard = listener
    url = f"postgresql+psycopg://me@{address}/runs"
    folder = sent(lambda record: record["config"]["ledger"].update(url=url))
    outcome = runner("reproduce", folder)
    assert outcome.code == 0, outcome.out + outcome.err
    assert f"ledger.url=postgresql+psycopg://***@{address}/runs is not used" in " ".join(outcome.out.split())
    outcome = runner("export", folder, "export.to=paper")
    assert (outcome.code, "is not used; ledger.url=… names it" in outcome.out) == (0, True)
    assert heard == []


def test_ledger_file(sent, runner):
    """No ledger file is made, neither where a record says, nor for a mere look."""
    place = runner.folder / "elsewhere.db"
    url = f"sqlite+pysqlite:///{place}"
    folder = sent(lambda record: record["config"]["ledger"].update(url=url))
    assert runner("reproduce", folder, f"ledger.url={url}").code == 1
    assert runner("reproduce", folder, "reproduce.ask=true").code == 2
    assert not place.exists()


@pytest.mark.parametrize(
    ("where", "key"), [("provider", "OPENAI_API_KEY"), ("judge.provider", "AWS_SECRET_ACCESS_KEY")]
)
def test_base_url(sent, runner, where, key):
    """No question and no key goes to a server that only the record names."""

    def change(record):
        node = {**record["config"]["provider"], "base_url": f"{server.url}/v1", "api_key_env": key}
        if where == "judge.provider":
            record["config"]["judge"] = {"name": "x", "provider": node, "prompt": record["config"]["prompt"]}
            record["config"]["provider"] |= {"base_url": None}
            record["identities"]["judge"] = record["identities"]["model"]
        else:
            record["config"]["provider"] = node
        record["identities"]["model"]["base_url"] = f"{server.url}/v1"

    with serving(answer) as server:
        folder = sent(change)
        lose_answers(runner.folder)
        outcome = runner("reproduce", folder, "reproduce.ask=true")
        assert outcome.code == 2
        assert f"{where}.base_url={server.url}/v1: only the record names it" in outcome.err
        assert server.calls == []


def test_named_base_url(sent, runner):
    """A server that the command line names is asked, with the key of a variable that it names, too."""

    def change(record):
        record["config"]["provider"] |= {"base_url": f"{server.url}/v1", "api_key_env": "MISTRAL_API_KEY"}
        record["identities"]["model"]["base_url"] = f"{server.url}/v1"

    with serving(answer) as server:
        folder = sent(change)
        lose_answers(runner.folder)
        named = ["reproduce.ask=true", f"provider.base_url={server.url}/v1"]
        outcome = runner("reproduce", folder, *named)
        assert "provider.api_key_env=MISTRAL_API_KEY: only the record names it, so its" in outcome.err
        assert (outcome.code, server.calls) == (2, [])
        outcome = runner("reproduce", folder, *named, "provider.api_key_env=MISTRAL_API_KEY")
        assert len(server.calls) == 4, outcome.err
        assert server.last.headers["authorization"] == f"Bearer {KEY}"


NODE = {"_target_": "runner.providers.openai.OpenAI", "model": "m"}
WEIGHTS = {"_target_": "runner.providers.local.Local", "model": "sent/evil.gguf"}
PROVIDERS = [
    (NODE, {}, ""),
    ({**NODE, "base_url": "https://api.openai.com/v1", "api_key_env": "OPENAI_API_KEY"}, {}, ""),
    ({**NODE, "base_url": "http://x"}, {}, "provider.base_url=http://x: only the record"),
    ({**NODE, "base_url": "http://me:secret@x"}, {}, "provider.base_url=http://***@x: only"),
    ({**NODE, "base_url": "http://x"}, {"provider.base_url": ["http://x"]}, ""),
    ({**NODE, "base_url": "http://x"}, {"provider.base_url": ["http://y"]}, "the record has http://x, and"),
    (NODE, {"provider.base_url": ["http://y"]}, "the record has https://api.openai.com/v1, and no other"),
    ({**NODE, "api_key_env": "AWS_SECRET"}, {}, "api_key_env=AWS_SECRET: only the record names it, so its"),
    ({**NODE, "api_key_env": "MISTRAL_API_KEY"}, {}, "MISTRAL_API_KEY: only the record names it"),
    ({**NODE, "deployment": {"token_env": "AWS_SECRET"}}, {}, "provider.deployment.token_env=AWS_SECRET"),
    ({**NODE, "more": [{"x": "ftp://y"}]}, {}, "provider.more.0.x=ftp://y: only"),
    (WEIGHTS, {}, "provider.model=sent/evil.gguf: only the record names it"),
    (WEIGHTS, {"provider.model": ["sent/evil.gguf"]}, ""),
    ({**WEIGHTS, "model": "smollm2-135m-instruct", "models_dir": "/x"}, {}, "provider.models_dir=/x: only"),
]


@pytest.mark.parametrize(("node", "named", "message"), PROVIDERS)
def test_addresses_of_a_provider(node, named, message):
    """What is the default of its class is one's own, and what is named must be what is recorded."""
    if not message:
        Own(named).check_provider(node, "provider")
        return
    with pytest.raises(ConfigError, match=re.escape(message)):
        Own(named).check_provider(node, "provider")


def test_own_option(sent, runner):
    """An address in an option file of one's own need not be named again."""

    def change(record):
        record["config"]["provider"] |= {"base_url": f"{server.url}/v1"}
        record["identities"]["model"]["base_url"] = f"{server.url}/v1"
        record["overrides"] = [*EXPERIMENT, "provider=ours"]

    with serving(answer) as server:
        folder = sent(change)
        lose_answers(runner.folder)
        option = runner.folder / "mine" / "provider" / "ours.yaml"
        option.parent.mkdir()
        target = "_target_: runner.providers.openai.OpenAICompatible"
        option.write_text(f"{target}\nmodel: adder\nbase_url: {server.url}/v1\n")
        runner("reproduce", folder, "--config-dir", "mine", "reproduce.ask=true")
        assert len(server.calls) == 4


@pytest.mark.parametrize(
    ("command", "kind"), [("export", "url"), ("reproduce", "join"), ("reproduce", "finetune")]
)
def test_data(sent, runner, command, kind):
    """No data is read from an address that only the record names, not even that of a join or a training."""

    def change(record):
        data = record["config"]["dataset"]
        if kind == "url":
            data |= {"path": None, "url": f"{server.url}/rows.jsonl"}
        elif kind == "join":
            data["steps"] = [{"join": {"url": f"{server.url}/more.csv", "key": "question"}}]
        else:
            record["config"]["finetune"] = {"name": "x", "dataset": {**data, "path": None, "url": server.url}}
            record["identities"]["base"] = record["identities"]["model"]

    with serving(answer) as server:
        folder = sent(change)
        outcome = runner(command, folder, *(["export.to=paper"] if command == "export" else []))
        said = " ".join((outcome.out + outcome.err).split())
        assert "only the record names it, so it is not used" in said
        assert server.calls == []


FILES = [
    ({"url": "http://127.0.0.1:9/x"}, False),
    ({"url": "http://127.0.0.1:9/x", "sha256": "0" * 64}, False),
    ({"url": "file:///etc/hostname"}, False),
    ({"path": "/etc/hostname"}, False),
    ({"path": "../rows.jsonl"}, False),
    ({"path": "mine/../../rows.jsonl"}, False),
    ({"path": "sent/linked.jsonl"}, False),
    ({"path": ".env"}, False),
    ({"path": "mine/.git/config"}, False),
    ({"path": "rows.jsonl"}, True),
    ({"path": "sent/own.jsonl"}, True),
    ({"path": "disk/rows.jsonl"}, True),
    ({"path": "/etc/host*"}, False),
    ({"path": "../rows.*"}, False),
    ({"path": "sent/link*.jsonl"}, False),
    ({"path": "min[e]/.git/con*"}, False),
    ({"path": "sent/linked.zip!rows.jsonl"}, False),
    ({"path": "sent/ow?.jsonl"}, True),
    ({"path": "r*.jsonl"}, True),
    ({"path": "rows.zip!../x"}, True),
]


@pytest.mark.parametrize(("file", "allowed"), FILES)
def test_files(tmp_path, monkeypatch, file, allowed):
    """Files below the current folder are read, also on a disk that is linked there; no others are."""
    home = tmp_path / "home"
    for folder in (home / "sent", home / "mine", tmp_path / "disk"):
        folder.mkdir(parents=True)
        (folder / "rows.jsonl").write_text("")
    for place in (tmp_path, home):
        (place / "rows.jsonl").write_text("")
    (home / ".env").write_text("")
    (home / "mine" / ".git").mkdir()
    (home / "mine" / ".git" / "config").write_text("")
    (home / "disk").symlink_to(tmp_path / "disk")
    (home / "sent" / "own.jsonl").symlink_to("rows.jsonl")
    (home / "sent" / "linked.jsonl").symlink_to(home / "rows.jsonl")
    (home / "rows.zip").write_text("")
    (home / "sent" / "linked.zip").symlink_to(home / "rows.zip")
    monkeypatch.chdir(home)
    monkeypatch.setenv("RUNNER_DATA_DIR", str(tmp_path / "data"))
    with guard_files([Own()], Path("sent")):
        if allowed:
            assert all(path.exists() for path, _ in locate(FileConfig(**file)))
            return
        with pytest.raises(DataError, match="only the record names it"):
            locate(FileConfig(**file))
    with guard_files([Own({"dataset.x": [next(iter(file.values()))]})], Path("sent")), suppress(DataError):
        assert all(path.exists() for path, _ in locate(FileConfig(**file)))


def test_named_data(sent, runner, tmp_path_factory):
    """Data that the command line names is read."""
    place = tmp_path_factory.mktemp("disk") / "rows.jsonl"
    folder = sent(lambda record: record["config"]["dataset"].update(path=str(place)))
    shutil.move(runner.folder / "rows.jsonl", place)
    assert runner("reproduce", folder).code == 1
    outcome = runner("reproduce", folder, f"dataset.path={place}")
    assert outcome.code == 0, outcome.out + outcome.err
    outcome = runner("export", folder, f"dataset.path={place}", "export.data=true", "export.to=paper")
    assert (outcome.code, outcome.err) == (0, "")


CALL = {"_target_": "shutil.copyfile", "src": "rows.jsonl", "dst": "stolen"}


def add_metric(record):
    record["config"]["metric"]["evil"] = CALL


def add_identity(record):
    record["identities"]["model"]["options"] = CALL


@pytest.mark.parametrize("change", [add_metric, add_identity])
def test_classes(sent, runner, change):
    """No code of a record runs, and the message says what would have."""
    outcome = runner("reproduce", sent(change))
    assert outcome.code == 2
    assert "copyfile(src='rows.jsonl', dst='stolen'" in outcome.err
    assert "reproduce.trust=true runs it" in outcome.err
    assert not (runner.folder / "stolen").exists()


def test_overrides_import_nothing(sent, runner):
    """Composing the recorded command imports no module that lies in the folder, and leaves no search path."""
    folder = sent()
    (runner.folder / folder / "evil.py").write_text("open('stolen', 'w')\nclass Evil: pass")
    target = f"{folder}.evil.Evil".replace("/", ".")

    def change(record):
        record["overrides"] += [f"+metric.evil={{_target_: {target}}}", "+metric.evil.x=1"]
        record["overrides"] += ["hydra.searchpath=[file://.]"]

    assert runner("reproduce", sent(change)).code in (0, 1)
    assert not (runner.folder / "stolen").exists()


def test_interpolations_are_text(sent, runner):
    """What looks like an interpolation in a record makes no object, reads no variable and imports nothing."""
    call = "${oc.create:{_target_:os.mkdir,path:stolen}}"
    folder = sent()
    (runner.folder / "evil.py").write_text("import os\nos.mkdir('stolen')\nclass Evil: pass")

    def change(record):
        record["config"]["metric"]["accuracy"]["name"] = call
        record["config"]["provider"]["options"] = {"user": "${oc.env:OPENAI_API_KEY}", "x": [call]}
        record["overrides"] += ["+metric.evil='${oc.create:{_target_:evil.Evil}}'", "+metric.evil.x=1"]

    sent(change)
    assert runner("reproduce", folder).code in (0, 1)
    assert not (runner.folder / "stolen").exists()
    written = [file.read_bytes() for file in runner.folder.rglob("*") if file.is_file()]
    assert not any(KEY.encode() in content for content in written)


def test_sql_reads_no_file(sent, runner):
    """A step of a record's data selects from no file."""
    step = {"filter": "target IN (SELECT column_1 FROM read_csv('/etc/hostname'))"}
    outcome = runner("reproduce", sent(lambda record: record["config"]["dataset"].update(steps=[step])))
    assert (outcome.code, "cannot select from a table or file" in outcome.err) == (2, True)


GAPS = {
    "config.provider": lambda record: record["config"].update(provider=None),
    "config.dataset": lambda record: record.update(config={}),
    "config.judge": lambda record: record["config"].update(judge={"x": 1}),
    "config.checkpoint": lambda record: record["config"].pop("checkpoint"),
    "inputs": lambda record: record.update(inputs=[]),
    "models": lambda record: record.update(models=[{"x": 1}]),
    "identities.model": lambda record: record.update(identities={"other": {}}),
    "started is 1e+300": lambda record: record.update(started=1e300),
    "started is -1": lambda record: record.update(started=-1),
    "finished is nan": lambda record: record.update(finished=float("nan")),
}


@pytest.mark.parametrize("place", GAPS)
def test_a_record_that_no_run_wrote(made, tmp_path, place):
    """Its odd part is named."""
    (source,) = made.glob("outputs/runs/*")
    folder = shutil.copytree(source, tmp_path / "run")
    record = json.loads((folder / "record.json").read_text())
    GAPS[place](record)
    (folder / "record.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=re.escape(place)) as caught:
        read_past_run(folder, Export(folder))
    assert f"{folder}/record.json" in str(caught.value)


def test_a_prompt_is_no_link(sent, runner):
    """A text outside the folder is neither shown nor sent as if it were the prompt of the run."""
    prompt = runner.folder / sent() / "prompts" / "prompt.user.jinja"
    prompt.unlink()
    prompt.symlink_to(runner.folder / "rows.jsonl")
    outcome = runner("reproduce", str(prompt.parent.parent))
    assert (outcome.code, "prompt.user.jinja: is a link out of" in outcome.err) == (2, True)


@pytest.mark.parametrize("trust", [False, True])
def test_report(sent, runner, trust):
    """A report makes a record's own metrics only if it is told to trust them."""
    outcome = runner("report", sent(add_metric), f"report.trust={str(trust).lower()}")
    assert outcome.code == 0, outcome.err
    assert (runner.folder / "stolen").exists() == trust


@pytest.mark.parametrize(
    "name",
    ["record.json", "predictions.parquet", "prompts/prompt.user.jinja", ".hydra/config.yaml", "prompts", ""],
)
def test_export_follows_no_link(sent, runner, tmp_path_factory, name):
    """A file or folder that is a link out of the run's folder is named, and nothing is written."""
    source = runner.folder / sent()
    moved = tmp_path_factory.mktemp("home") / "moved"
    if not name:  # a point of a sweep
        (source.parent / "sweep").mkdir()
        source = shutil.move(source, source.parent / "sweep" / "0").parent
    place = source / (name or "0")
    shutil.move(place, moved)
    place.symlink_to(moved)
    with pytest.raises(ConfigError, match="is a link out of"):
        export(source, runner.folder / "paper", "sqlite:///outputs/ledger.db")
    assert not (runner.folder / "paper").exists()


def test_export_waits_for_no_pipe(tmp_path):
    """A pipe in a run's folder is named, and not waited for."""
    os.mkfifo(tmp_path / "record.json")
    with pytest.raises(ConfigError, match=r"record\.json: is no plain file"):
        export(tmp_path, tmp_path / "paper", "sqlite:///outputs/ledger.db")


def test_export_follows_links_inside(sent, runner, tmp_path_factory):
    """A link to a file of the same run is fine, and so is a run's folder on another disk."""
    folder = runner.folder / sent()
    moved = tmp_path_factory.mktemp("disk") / "run"
    (folder / "predictions.parquet").rename(folder / "rows.parquet")
    (folder / "predictions.parquet").symlink_to("rows.parquet")
    shutil.move(folder, moved)
    folder.symlink_to(moved)
    outcome = runner("export", str(folder), "export.to=paper")
    assert outcome.code == 0, outcome.err
    assert not (runner.folder / "paper" / "predictions.parquet").is_symlink()


def test_export_data_is_no_link(sent, runner):
    """Nor does an export take data through a link in the run's folder."""
    folder = sent()
    (runner.folder / folder / "rows.jsonl").symlink_to(runner.folder / "rows.jsonl")
    folder = sent(lambda record: record["config"]["dataset"].update(path=f"{folder}/rows.jsonl"))
    outcome = runner("export", folder, "export.data=true", "export.to=paper")
    assert (outcome.code, "only the record names it" in outcome.err) == (2, True)


def write_zip(file, *entries, mode=0):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            made.writestr(info, content)


def break_zip(file):
    write_zip(file, ("a", os.urandom(5000)))
    content = bytearray(file.read_bytes())
    content[2000] ^= 255
    file.write_bytes(content)


ZIPS = {
    "no zip": (lambda file: file.write_text("PK\3\4 is no zip"), "not a zip"),
    "empty": (lambda file: file.write_bytes(b""), "not a zip"),
    "broken": (break_zip, "Bad CRC-32"),
    "up": (lambda file: write_zip(file, ("../evil", "x")), "'../evil' would be outside"),
    "deep up": (lambda file: write_zip(file, ("a/../../evil", "x")), "would be outside"),
    "absolute": (lambda file: write_zip(file, ("/tmp/evil", "x")), "would be outside"),
    "windows": (lambda file: write_zip(file, ("C:\\evil", "x")), "would be outside"),
    "backslash": (lambda file: write_zip(file, ("..\\evil", "x")), "would be outside"),
    "link": (lambda file: write_zip(file, ("a", "/etc/passwd"), mode=0o120777), "is a link"),
    "twice": (lambda file: write_zip(file, ("a", "x"), ("a", "y")), "is in it twice"),
    "twice by another name": (lambda file: write_zip(file, ("a", "x"), ("./a", "y")), "is in it twice"),
    "bomb": (lambda file: write_zip(file, ("a", bytes(80 * 2**20))), "would unpack to 83,886,080 bytes"),
    "file and folder": (lambda file: write_zip(file, ("a", "x"), ("a/b", "y")), "cannot be unpacked"),
    "long name": (lambda file: write_zip(file, ("a" * 300, "x")), "cannot be unpacked"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ZIPS)
def test_zip(tmp_path, kind):
    """A zip that is none, or that would do harm, is refused by its name and by its file's."""
    write, message = ZIPS[kind]
    write(tmp_path / "paper.zip")
    with pytest.raises(ConfigError, match=message) as caught, unpack(tmp_path / "paper.zip"):
        pass
    assert str(tmp_path / "paper.zip") in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["paper.zip"]


@pytest.mark.parametrize("name", ["../rows.jsonl", "/etc/hostname", "data/../../x"])
def test_manifest_stays_inside(tmp_path, name):
    """An export's list of files names only files of the export."""
    (tmp_path / "ledger.jsonl").touch()
    data = [{"path": "rows.jsonl", "url": None, "sha256": None, "file": name}]
    (tmp_path / "export.json").write_text(json.dumps({"format": 1, "data": data}))
    with pytest.raises(ConfigError, match="is not a file of the export"):
        find_export(tmp_path)


DEEP = "[" * 100_000
"""What the decoder of JSON cannot follow."""


@pytest.mark.parametrize("name", ["export.json", "ledger.jsonl"])
@pytest.mark.parametrize("kind", ["deep", "pipe"])
def test_odd_files_of_an_export(tmp_path, name, kind):
    """They are named, and not waited for."""
    (tmp_path / "export.json").write_text(json.dumps({"format": 1, "data": []}))
    (tmp_path / "ledger.jsonl").touch()
    (tmp_path / name).unlink()
    if kind == "pipe":
        os.mkfifo(tmp_path / name)
    else:
        (tmp_path / name).write_text(DEEP)
    with pytest.raises(DataError, match=re.escape(name)):
        find_export(tmp_path)
