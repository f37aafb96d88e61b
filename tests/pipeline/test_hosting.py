"""A deployment is made once for all who need its model, is paid once, and does not stay."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest
from hosted import KEY
from servers import serving
from training import Hosting, at_azure, write_training

from runner.core.errors import ProviderError, RetryableError
from runner.engine.ledger import Ledger
from runner.engine.ledger.claims import OWNER, make_claim
from runner.pipeline import hosting
from runner.pipeline.hosting import (
    DEPLOYMENT,
    Bill,
    GaveUp,
    Use,
    delete_leftovers,
    name_deployment,
    serve_model,
)
from runner.pipeline.keeping import Need, SweepKeeper
from runner.providers.azure import Azure


@pytest.fixture
def command(runner, monkeypatch):
    """The command line, in a folder with a small training; nothing waits."""
    monkeypatch.setenv("TOKEN", KEY)
    monkeypatch.setattr("runner.providers.azure.tuning.RETRIES", 0)
    for module in ("azure.tuning", "hosting"):
        monkeypatch.setattr(f"runner.providers.{module}.POLL_S", 0.01)
    monkeypatch.setattr("runner.core.retry.FIRST_WAIT_S", 0.0)
    monkeypatch.setattr(hosting, "PAUSES_S", (0.01,))
    monkeypatch.setattr(hosting, "WAIT_S", 0.01)
    arguments = write_training(runner.folder)
    return lambda *more: runner(*arguments, *more)


@dataclass
class Played(Hosting):
    """The service, which knows its own address."""

    url: str = ""


@pytest.fixture
def api() -> Iterator[Played]:
    api = Played()
    with serving(api) as server:
        api.url = server.url
        yield api


@pytest.fixture
def ledger(tmp_path) -> Iterator[Ledger]:
    with closing(Ledger(f"sqlite:///{tmp_path}/ledger.db")) as ledger:
        yield ledger


class Deployments:
    """A deployer of a user's own; ``faults`` are raised by the calls to delete, one after another."""

    def __init__(self, *faults: BaseException) -> None:
        self.faults, self.made, self.stand = list(faults), 0, set()

    def deploy(self, model, name):
        self.made += name not in self.stand
        self.stand.add(name)

    def hosted(self, model, name):
        return Azure(model=name, base_url="http://here", stands_for=model)

    def undeploy(self, name):
        if self.faults:
            raise self.faults.pop(0)
        self.stand.discard(name)

    def bills_hosting(self):
        return True


def use_of(tuner, ledger, model="m", **bill) -> Use:
    return Use(model, name_deployment(model, tuner, ledger), tuner, ledger, Bill(**bill))


@pytest.mark.parametrize(
    ("launcher", "checkpoints", "made"), [("basic", "3,last", 1), ("concurrent", "1,last", 2)]
)
def test_a_sweep_makes_one_deployment_per_model(command, runner, api, launcher, checkpoints, made):
    """Also for a model under two names, on two data sets; none is left."""
    mine, rows = runner.folder / "mine" / "dataset", runner.folder / "rows.jsonl"
    (mine / "others.yaml").write_text((mine / "sums.yaml").read_text().replace("rows", "others"))
    (runner.folder / "others.jsonl").write_text(rows.read_text().replace("+1?", "+1=?"))
    sweep = ["-m", f"hydra/launcher={launcher}", "dataset=sums,others", f"checkpoint={checkpoints}"]
    outcome = command(*at_azure(api.url), "dataset@finetune.dataset=sums", *sweep)
    assert outcome.code == 0, outcome.err
    assert (api.made, api.deployments, len(api.jobs)) == (made, {}, 1)
    assert {record.status for record in runner.records()} == {"finished"}


def test_what_cannot_be_deleted_is_said(command, runner, api, monkeypatch):
    """The scores count, the exit code is 1, and name, price and command are said and recorded."""
    api.keeps = 403
    outcome = command(*at_azure(api.url), "provider.deployment.sku=Standard", "provider.priced_as=gpt-4o")
    (name,) = api.deployments
    (record,) = runner.records()
    assert (outcome.code, record.status, record.scores["exact_agreement"].value) == (1, "finished", 1)
    (warning,) = record.warnings
    assert warning in outcome.err
    for part in (name, "403", "costs $1.70 per hour", f"runner cleanup {name}"):
        assert part in warning


def test_cleanup(command, runner, api):
    """It lists what stands with its age and owner, and deletes what nobody uses, or what is named."""
    api.keeps = 500
    command(*at_azure(api.url))
    api.keeps = 0
    (left,) = api.deployments
    with closing(Ledger(f"sqlite:///{runner.folder}/outputs/ledger.db")) as ledger:
        node = {"account": "a", "token_env": "TOKEN", "subscription": "s", "resource_group": "g"}
        node["base_url"] = api.url
        tuner = Azure(model="m", base_url=api.url, token_env="TOKEN", deployment=node).tuner()
        use = use_of(tuner, ledger, api.checkpoints[0][1])
        ledger.add("job", "k", make_claim(ledger))
        api.deployments |= {
            "runner-other": dict(api.deployments[left]),
            "theirs": dict(api.deployments[left]),
        }
        shown = runner("cleanup")
        assert f"left over (delete it with provider=azure)  {left}" in shown.out
        assert set(api.deployments) == {left, "runner-other", "theirs"}
        use.join()
        tuner.deploy(use.model, use.name)
        shown = runner("cleanup", *at_azure(api.url))
        assert f"deleted  {left}" in shown.out
        assert f"in use  {use.name}" in shown.out
        assert f"{use.name}  {use.model}  " in shown.out
        assert "(alive)" in shown.out
        assert "not of this ledger  runner-other" in shown.out
        assert "unfinished  training job k" in shown.out
        assert set(api.deployments) == {use.name, "runner-other", "theirs"}
        named = runner("cleanup", use.name, "runner-other", *at_azure(api.url))
        assert (named.code, set(api.deployments)) == (0, {"theirs"})
        assert list(ledger.items(DEPLOYMENT)) == []
        refused = runner("cleanup", "theirs", *at_azure(api.url))
        assert (refused.code, "no deployment 'theirs'" in refused.err) == (2, True)
        use.leave()


def test_two_at_a_time_share(ledger):
    """The second finds the deployment of the first; the last one to leave deletes it; hours count once."""
    tuner = Deployments()
    with closing(Ledger(ledger.url)) as other:
        first, second = use_of(tuner, ledger), use_of(tuner, other)
        assert first.name == second.name
        for use in (first, second):
            use.join()
            tuner.deploy("m", use.name)
        back_date(ledger, 7200)
        first.leave()
        assert tuner.stand == {first.name}
        back_date(ledger, 3600)
        second.leave()
    assert (tuner.made, tuner.stand, list(ledger.items(DEPLOYMENT))) == (1, set(), [])
    assert [use.bill.hours for use in (first, second)] == pytest.approx([2, 1], abs=0.01)


def back_date(ledger, seconds):
    """As if so many seconds had passed since the hours were counted."""
    ((name, _),) = ledger.items(DEPLOYMENT)
    ledger.change(DEPLOYMENT, name, lambda entry: {**entry, "paid": entry["paid"] - seconds})


def test_two_ledgers_and_two_settings_share_nothing(ledger, tmp_path, monkeypatch):
    """Names differ between people, between models, and between settings of the deployment."""
    monkeypatch.setenv("TOKEN", KEY)

    def azure(sku):
        node = {"sku": sku, "subscription": "s", "resource_group": "g"}
        return Azure(model="m", base_url="https://r.a", token_env="TOKEN", deployment=node).tuner()

    with closing(Ledger(f"sqlite:///{tmp_path}/other.db")) as other:
        names = {name_deployment("m", azure("Standard"), place) for place in (ledger, other)}
    names |= {
        name_deployment("n", azure("Standard"), ledger),
        name_deployment("m", azure("GlobalStandard"), ledger),
    }
    assert len(names) == 4
    assert name_deployment("m", azure("Standard"), ledger) in names


def test_a_deletion_is_waited_for_or_taken_over(ledger, monkeypatch):
    """Whoever needs a deployment that a living owner deletes makes it anew; a dead one's is taken over."""
    monkeypatch.setattr(hosting, "WAIT_S", 0.01)
    tuner, other = Deployments(), Ledger(ledger.url)
    use, dying = use_of(tuner, ledger), use_of(tuner, other)
    dying.join()
    ledger.change(DEPLOYMENT, use.name, lambda entry: {**entry, "users": {}, "deleting": make_claim(other)})
    joined = threading.Thread(target=use.join)
    joined.start()
    joined.join(0.05)
    assert joined.is_alive()
    other.close()
    joined.join(5)
    assert set(ledger.get(DEPLOYMENT, use.name)["users"]) == {use.token}
    use.leave()


def test_dead_users_do_not_count(ledger):
    """A use of a killed process keeps nothing; what only such ones used is left over."""
    tuner, dead = Deployments(), Ledger(ledger.url)
    killed, use = use_of(tuner, dead), use_of(tuner, ledger)
    killed.join()
    tuner.deploy("m", killed.name)
    use.join()
    ledger.remove(OWNER, make_claim(dead)["owner"])
    assert delete_leftovers(tuner, ledger) == {}
    use.leave()
    assert tuner.stand == set()
    killed.join()
    dead.close()
    assert delete_leftovers(tuner, ledger) == {use.name: None}


def test_a_user_that_was_taken_for_dead(ledger):
    """It was frozen while the other user left and deleted; what it makes after that is deleted, too."""
    tuner = Deployments()
    with closing(Ledger(ledger.url)) as other:
        frozen, use = use_of(tuner, other), use_of(tuner, ledger)
        frozen.join()
        ledger.remove(OWNER, make_claim(other)["owner"])
        use.join()
        use.leave()
        tuner.deploy("m", frozen.name)
        frozen.leave()
    assert (tuner.stand, list(ledger.items(DEPLOYMENT))) == (set(), [])


def test_a_deployment_of_another_account_is_left_alone(ledger):
    """Asking the wrong account would find nothing, and forget what stands."""

    class Elsewhere(Deployments):
        def hosted(self, model, name):
            return Azure(model=name, base_url="http://there", stands_for=model)

    dead = Ledger(ledger.url)
    use_of(Elsewhere(), dead).join()
    dead.close()
    assert delete_leftovers(Deployments(), ledger) == {}
    assert list(delete_leftovers(Elsewhere(), ledger).values()) == [None]


@pytest.mark.parametrize(
    ("faults", "stands"),
    [
        ([RetryableError("500")] * 3, False),
        ([ProviderError("409"), ProviderError("403")], False),
        ([ProviderError("403")] * 9, True),
        ([ZeroDivisionError("own")], True),
    ],
)
def test_deleting_is_tried_again(ledger, monkeypatch, faults, stands):
    """For some minutes, after faults of the service; what stays is in the bill, and is left over."""
    monkeypatch.setattr(hosting, "PAUSES_S", (0.0,) * 4)
    tuner, bill = Deployments(*faults), Bill()
    with serve_model("m", tuner, ledger, bill=bill):
        pass
    assert (bool(tuner.stand), bool(bill.leftovers)) == (stands, stands)
    tuner.faults = []
    assert list(delete_leftovers(tuner, ledger).values()) == [None] * stands
    assert tuner.stand == set()


def test_ctrl_c_while_deleting(ledger, monkeypatch):
    """The first does not stop a deletion; a second one does, and so does one after a failure."""
    tuner, bill = Deployments(KeyboardInterrupt()), Bill()
    with pytest.raises(KeyboardInterrupt), serve_model("m", tuner, ledger, bill=bill):
        pass
    assert (tuner.stand, bill.leftovers) == (set(), {})
    tuner.faults = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt), serve_model("m", tuner, ledger, bill=bill):
        raise KeyboardInterrupt
    assert set(bill.leftovers.values()) == {"it was interrupted"}

    def stop(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(hosting, "pause", stop)
    tuner.faults = [ProviderError("500"), AssertionError("asked again")]
    with pytest.raises(GaveUp), serve_model("n", tuner, ledger):
        pass


def test_kept_while_a_later_point_may_need_it(ledger):
    """A sweep keeps a deployment between two points, also for another name of the same model."""
    tuner, models = Deployments(), {1: "a", 2: "b", "last": "b"}
    needs = {0: Need("t", 1), 1: Need("t", 2), 2: Need("t", "last"), 3: Need("u", 2), 4: Need("t", 9)}
    keeper, bills = SweepKeeper(needs), [Bill() for _ in needs]

    def run(point, model, needed=True):
        own = keeper.of_point(point, models.__getitem__)
        with serve_model(model, tuner, ledger, lambda provider: needed, bills[point], own):
            pass

    models[9] = "c"
    run(0, "a")
    assert len(tuner.stand) == 0
    keeper.end_point(0)
    run(1, "b")
    keeper.end_point(1)
    assert len(tuner.stand) == 1
    back_date(ledger, 3600)
    run(2, "b", needed=False)
    assert (tuner.stand, tuner.made, round(bills[2].hours, 1)) == (set(), 2, 1.0)
    keeper.end_point(2)
    run(3, "d")
    assert tuner.stand == set()


@pytest.mark.parametrize("how", ["its point fails", "the sweep ends"])
def test_nothing_is_kept_for_ever(ledger, how, caplog):
    """What is kept goes when no point needs it any more; what stays all the same is said."""
    tuner = Deployments()
    keeper = SweepKeeper({0: Need("t", 1), 1: Need("t", 1)})
    with serve_model("m", tuner, ledger, keeper=keeper.of_point(0, lambda checkpoint: "m")):
        pass
    assert len(tuner.stand) == 1
    tuner.faults = [ZeroDivisionError("own")]
    for _ in range(2):
        keeper.end_point(1) if how == "its point fails" else keeper.close()
    (warning,) = keeper.warnings
    assert "own" in warning
    assert warning in caplog.text
