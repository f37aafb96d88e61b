"""Fine-tuning at Azure OpenAI: OpenAI's calls at the resource's own endpoint, and hosting for the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import openai
from openai.types.fine_tuning import FineTuningJob

from runner.core.errors import ProviderError, RetryableError
from runner.core.provider import Provider
from runner.core.retry import pause
from runner.core.services import TuningJob
from runner.providers.azure.hosting import Deployment, Hosting
from runner.providers.azure.resource import Resource
from runner.providers.http.certificates import make_ssl_context
from runner.providers.openai.tuning import RETRIES, OpenAITuner
from runner.providers.tuning_files import has_mark, list_all, make_suffix

MARK = {"key_letters": 16, "letters": 40}
ANSWERS_WITHIN_S = 600.0  # a new deployment may not be found for some minutes
POLL_S = 5.0


class AzureTuner(OpenAITuner):
    """A tuner and a :class:`runner.core.provider.Deployer`.

    Azure's jobs carry no metadata, so the key goes into the suffix, which is also part of the model's name.
    """

    _provider: Resource

    def __init__(self, provider: Resource, sleep: Callable[[float], None] = pause) -> None:
        super().__init__(provider, sleep)
        deployment = Deployment.from_config(provider.deployment)
        deployment.check()
        self._hosting = Hosting(deployment, provider.endpoint, sleep)
        self.minutes = deployment.minutes

    def check_job(self, job: TuningJob) -> None:
        """Refuse what OpenAI refuses, and a result that could not be hosted."""
        super().check_job(job)
        self._hosting.check()

    def deploy(self, model: str, name: str) -> None:
        """Host a model under a name; returns when it answers. No error if it is there already."""
        self._hosting.create(model, name)
        waited = 0.0
        while not self._is_answering(name):
            if waited >= ANSWERS_WITHIN_S:
                raise ProviderError(f"azure: deployment {name} does not answer after {waited:.0f} s")
            self._sleep(POLL_S)
            waited += POLL_S

    def undeploy(self, name: str) -> None:
        """Delete a deployment; no error if it is gone."""
        self._hosting.delete(name)

    def list_deployments(self) -> dict[str, str]:
        """The models of all deployments of the resource, by the deployments' names."""
        return self._hosting.list_all()

    def bills_hosting(self) -> bool:
        """Whether a deployment costs money while it stands: all but the developer tier."""
        return self._hosting.is_billed

    def serving(self, model: str) -> Provider:
        """The same resource, answering as the deployment of this name."""
        return replace(self._provider, model=model, stands_for=None)

    def hosted(self, model: str, name: str) -> Provider:
        """The same resource, answering as this deployment; its identity is that of the hosted model."""
        return replace(self._provider, model=name, stands_for=model)

    def _is_answering(self, name: str) -> bool:
        """Whether a deployment is found. An empty chat is refused unread (400), so it costs nothing."""
        try:
            with self._translate_errors():
                answer = self._unrepeated.chat.completions.create(model=name, messages=[])
                return bool(answer.choices)
        except RetryableError as error:
            return error.limited
        except ProviderError as error:
            if error.status in {401, 403}:
                raise
            return error.status != 404

    def _connect(self) -> openai.OpenAI:
        provider = self._provider
        version = {"api-version": provider.api_version} if provider.api_version else None
        return openai.OpenAI(
            api_key=provider.get_token if provider.signs_in else provider.read_key(),  # tokens expire
            base_url=f"{provider.endpoint()}/openai/v1",
            default_query=version,
            max_retries=RETRIES,
            timeout=provider.timeout_s,
            http_client=openai.DefaultHttpxClient(verify=make_ssl_context()),
        )

    def _build_marks(self, job: TuningJob) -> dict[str, Any]:
        return {"suffix": make_suffix(job.key, job.suffix, **MARK)}

    def _list_jobs(self, key: str) -> Iterator[FineTuningJob]:
        return list_all(self._client.fine_tuning.jobs.list(limit=100))

    def _is_ours(self, job: FineTuningJob, key: str) -> bool:
        mark = key[: MARK["key_letters"]]
        suffix = getattr(job, "suffix", None)  # not in the SDK's type, but in Azure's answer
        return has_mark(mark, suffix, job.fine_tuned_model)
