"""Azure OpenAI: the OpenAI dialect at a resource of one's own, where ``model`` is a deployment's name."""

from __future__ import annotations

from dataclasses import dataclass

from runner.core.provider import Batcher, Tuner
from runner.providers.azure.resource import Resource


@dataclass(kw_only=True, eq=False)
class Azure(Resource):
    """A deployment of an Azure OpenAI resource.

    ``base_url``     the resource, ``https://NAME.openai.azure.com``; null: from ``AZURE_OPENAI_ENDPOINT``
    ``api_key_env``  null: sign in with Entra instead, by ``token_env`` or azure-identity
    ``token_env``    environment variable that holds an Entra token; it goes before the key
    ``api_version``  null: the v1 API; a date: the older API of that date (chat only)
    ``stands_for``   the model behind the deployment; its name identifies answers, not the deployment's
    ``deployment``   how fine-tuned models are hosted: :class:`runner.providers.azure.hosting.Deployment`
    """

    def batcher(self) -> Batcher:
        """Batches at this resource; the deployment's type must be one for batches."""
        from runner.providers.azure.batch import AzureBatcher  # httpx2 takes 0.1 s to import

        return AzureBatcher(self)

    def tuner(self) -> Tuner:
        """Fine-tuning at this resource."""
        from runner.providers.azure.tuning import AzureTuner  # the SDK takes a second to import

        return AzureTuner(self)
