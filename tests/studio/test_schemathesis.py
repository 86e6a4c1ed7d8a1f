"""What schemathesis makes of the OpenAPI document: no request that follows it, or nearly does, is met by a fault."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from impasto.studio.service import Service

from .studio_samples import data_of, photo

schemathesis = pytest.importorskip("schemathesis")

OPERATIONS = {
    "GET /v1/styles": 3,
    "POST /v1/stylize": 40,
    "GET /v1/jobs/{id}": 8,
    "DELETE /v1/jobs/{id}": 8,
    "GET /v1/jobs/{id}/events": 8,
    "GET /v1/jobs/{id}/preview": 8,
    "GET /v1/jobs/{id}/result": 8,
    "GET /healthz": 3,
    "GET /readyz": 3,
    "GET /metrics": 3,
}
"""Every operation, and how many requests of each kind are made of it."""


def operations(server: str) -> dict:
    found = schemathesis.openapi.from_url(f"{server}/openapi.json").get_all_operations()
    return {operation.ok().label: operation.ok() for operation in found}


def test_every_operation_is_tried(server: str) -> None:
    assert operations(server).keys() == OPERATIONS.keys()


@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
@pytest.mark.parametrize("label", OPERATIONS)
def test_no_request_is_met_by_a_fault(server: str, service: Service, label: str, mode: str) -> None:
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
        max_examples=OPERATIONS[label],
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
        database=None,
        derandomize=True,
    )
    @given(case=operations(server)[label].as_strategy(generation_mode=schemathesis.GenerationMode[mode]))
    def check(case) -> None:
        if isinstance(case.body, dict) and mode == "POSITIVE":
            case.body["photo"] = data_of(photo())  # or nothing would come as far as to be painted
            case.body.update({name: value for name, value in (("style", ["great-wave"]),) if len(seen) % 2})
        answer = case.call(timeout=60)
        case.validate_response(answer, checks=told)
        seen.append(answer.status_code)

    check()
    assert seen
