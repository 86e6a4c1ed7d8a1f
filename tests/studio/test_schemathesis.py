"""What schemathesis makes of the OpenAPI document: no request that follows it, or nearly does, is met by a fault."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from impasto.studio.service import Service

from .studio_samples import data_of, photo

schemathesis = pytest.importorskip("schemathesis")
PHOTO = data_of(photo())

OPERATIONS = {
    ("GET /v1/styles", "POSITIVE"): 3,
    ("POST /v1/stylize", "POSITIVE"): 30,
    ("POST /v1/stylize", "NEGATIVE"): 20,
    ("GET /v1/jobs/{id}", "POSITIVE"): 8,
    ("DELETE /v1/jobs/{id}", "POSITIVE"): 8,
    ("GET /v1/jobs/{id}/events", "POSITIVE"): 8,
    ("GET /v1/jobs/{id}/preview", "POSITIVE"): 8,
    ("GET /v1/jobs/{id}/result", "POSITIVE"): 8,
    ("GET /healthz", "POSITIVE"): 3,
    ("GET /readyz", "POSITIVE"): 3,
    ("GET /metrics", "POSITIVE"): 3,
}
"""Every operation, with requests that follow the document and, of the one that takes more than a name, that do not; and
how many of each."""


@pytest.fixture(scope="module")
def operations(shared_server: str) -> dict:
    found = schemathesis.openapi.from_url(f"{shared_server}/openapi.json").get_all_operations()
    return {operation.ok().label: operation.ok() for operation in found}


def test_every_operation_is_tried(operations: dict) -> None:
    assert operations.keys() == {label for label, _ in OPERATIONS}


@pytest.mark.parametrize(("label", "mode"), OPERATIONS)
def test_no_request_is_met_by_a_fault(operations: dict, service: Service, label: str, mode: str) -> None:
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    service.limits = replace(service.limits, seconds=3, steps=3)
    told = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    seen: list[int] = []

    @settings(
        max_examples=OPERATIONS[label, mode],
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
        database=None,
        derandomize=True,
    )
    @given(case=operations[label].as_strategy(generation_mode=schemathesis.GenerationMode[mode]))
    def check(case) -> None:
        if isinstance(case.body, dict) and mode == "POSITIVE":
            case.body["photo"] = PHOTO  # or nothing would come as far as to be painted
            if len(seen) % 2:
                case.body["style"] = ["great-wave"]
        answer = case.call(timeout=60)
        case.validate_response(answer, checks=told)
        seen.append(answer.status_code)

    check()
    assert seen
    for job in service.jobs:  # where `Prefer: respond-async` was among the headers
        assert job.wait(60)
        assert job.failure is None or job.failure.kind in ("request", "time"), job.failure
