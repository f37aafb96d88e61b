"""The played server's tables are those of the public description, where that is at hand."""

from __future__ import annotations

import json
from typing import Any

import hosted_together as played
import pytest
from places import ROOT

FILE = ROOT.parent / "shared" / "apis" / "together.json"
PLACES = {
    "UPLOAD": "/files/upload",
    "JOB": "/fine-tunes",
    "PRICE": "/fine-tunes/estimate-price",
    "ENDPOINT": "/endpoints",
    "BATCH": "/batches",
    "METHOD": "TrainingMethodSFT",
    "LORA": "LoRATrainingType",
    "FULL": "FullTrainingType",
    "AUTOSCALING": "Autoscaling",
}


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    """The description beside the checkout."""
    if not FILE.is_file():
        pytest.skip("needs the public description beside the checkout (../shared/apis)")
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


def find_schema(description: dict[str, Any], place: str) -> dict[str, Any]:
    """The schema of the body of a POST, or one by its name."""
    schemas = description["components"]["schemas"]
    if not place.startswith("/"):
        found: dict[str, Any] = schemas[place]
        return found
    contents = description["paths"][place]["post"]["requestBody"]["content"]
    schema: dict[str, Any] = next(iter(contents.values()))["schema"]
    return schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def list_types(description: dict[str, Any], schema: dict[str, Any]) -> set[str]:
    """The JSON types that a schema allows, with those of what it names."""
    named = description["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], {})
    parts = [*schema.get("oneOf", []), *schema.get("anyOf", []), *([named] if named else [])]
    found = set().union(*(list_types(description, part) for part in parts)) if parts else set()
    return found | ({schema["type"]} if "type" in schema else set())


@pytest.mark.parametrize("table", PLACES)
def test_tables(table: str, description: dict[str, Any]) -> None:
    """The same fields, the same required ones, and a type that the description allows."""
    schema, known = find_schema(description, PLACES[table]), getattr(played, table)
    assert set(known) == set(schema["properties"])
    assert set(played.REQUIRED[table]) == set(schema.get("required", ()))
    for name, kind in known.items():
        assert kind in list_types(description, schema["properties"][name]), name


def test_the_rest_of_what_is_sent(description: dict[str, Any]) -> None:
    """Chats and changes of an endpoint have no fields that the description lacks."""
    schemas = description["components"]["schemas"]
    assert set(schemas["ChatCompletionRequest"]["properties"]) >= played.CHAT
    body = description["paths"]["/endpoints/{endpointId}"]["patch"]["requestBody"]["content"]
    assert set(body["application/json"]["schema"]["properties"]) == set(played.CHANGE)


def test_words(description: dict[str, Any]) -> None:
    """Each state of a job, a batch and an endpoint has its meaning here."""
    from runner.providers.together import batch, hosting, tuning

    schemas = description["components"]["schemas"]
    assert set(schemas["FinetuneJobStatus"]["enum"]) == set(tuning.STATES)
    assert set(schemas["BatchJobStatus"]["enum"]) > batch.ENDED
    endpoint = set(schemas["DedicatedEndpoint"]["properties"]["state"]["enum"])
    assert endpoint > {hosting.Hosting.ready, *hosting.Hosting.ended}
    assert {"fine-tune", "batch-api"} < set(schemas["FilePurpose"]["enum"])
