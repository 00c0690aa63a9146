"""What is made of an answer that says no."""

import pytest

from flywheel.kube.errors import ApiError, Cause, error_from_status


def test_the_fields_that_were_refused_are_named() -> None:
    causes = [{"reason": "FieldValueInvalid", "field": "spec.replicas", "message": "must not be negative"}]
    body = {"kind": "Status", "code": 422, "reason": "Invalid", "message": "no", "details": {"causes": causes}}
    error = error_from_status(422, "Unprocessable", body, None)
    assert error.causes == (Cause("spec.replicas", "must not be negative"),)
    assert error.is_invalid
    assert not error.is_retryable


def test_an_unknown_field_in_an_apply_is_a_refusal_though_the_server_calls_it_its_own_fault() -> None:
    message = (
        "failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): errors:\n"
        "  .spec.replikas: field not declared in schema\n"
        '  .spec.template.spec.containers[name="web"].imag: field not declared in schema'
    )
    error = error_from_status(500, "", {"kind": "Status", "code": 500, "message": message}, None)
    assert error.is_invalid
    assert not error.is_retryable
    assert [cause.field for cause in error.causes] == [
        "spec.replikas",
        'spec.template.spec.containers[name="web"].imag',
    ]


def test_an_answer_without_a_status() -> None:
    error = error_from_status(502, "Bad Gateway", None, None)
    assert str(error) == "The API server answered 502 Bad Gateway."
    assert error.is_retryable


@pytest.mark.parametrize(("status", "word"), [(0, "unreachable"), (404, "not_found"), (418, "client_error")])
def test_the_words_for_metrics_are_few(status: int, word: str) -> None:
    assert ApiError(status, "", "").result == word


def test_the_wait_comes_from_the_body_or_the_header() -> None:
    body = {"kind": "Status", "code": 429, "details": {"retryAfterSeconds": 3}}
    assert error_from_status(429, "", body, "7").retry_after == 3
    assert error_from_status(429, "", None, "7").retry_after == 7
    assert error_from_status(429, "", None, "Wed, 21 Oct 2026 07:28:00 GMT").retry_after is None
