"""Certificates: good for what they are for, renewed in time, and never in a way that breaks trust at once."""

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from flywheel.metrics.certificates import Material, complaint_about, renewed

NAME = "flywheel-external-metrics.flywheel-system.svc"
NOW = datetime(2027, 6, 16, tzinfo=UTC)


@pytest.fixture(scope="module")
def fresh() -> Material:
    return renewed(None, NAME, NOW)


def first(material: Material) -> x509.Certificate:
    return x509.load_pem_x509_certificates(material.authorities)[0]


def test_fresh_material_is_good_for_two_months(fresh: Material) -> None:
    assert complaint_about(fresh, NAME, NOW) is None
    assert complaint_about(fresh, NAME, NOW + timedelta(days=59)) is None
    assert "ends at" in (complaint_about(fresh, NAME, NOW + timedelta(days=61)) or "")


def test_it_is_for_one_name(fresh: Material) -> None:
    assert (
        complaint_about(fresh, "other.flywheel-system.svc", NOW)
        == "its certificate is not for other.flywheel-system.svc"
    )


def test_a_new_certificate_comes_from_the_same_authority(fresh: Material) -> None:
    later = NOW + timedelta(days=61)
    again = renewed(fresh, NAME, later)
    assert again.authorities == fresh.authorities
    assert again.key != fresh.key
    assert complaint_about(again, NAME, later) is None


def test_a_new_authority_is_trusted_beside_the_old_one_until_that_ends(fresh: Material) -> None:
    end = first(fresh).not_valid_after_utc
    later = end - timedelta(days=300)
    again = renewed(fresh, NAME, later)
    assert complaint_about(again, NAME, later) is None
    assert x509.load_pem_x509_certificates(again.authorities)[1] == first(fresh)
    once_more = renewed(again, NAME, end + timedelta(days=1))
    assert x509.load_pem_x509_certificates(once_more.authorities) == [first(again)]


@pytest.mark.parametrize("field", ["authorities", "authority_key", "certificate", "key"])
def test_what_does_not_fit_together_is_replaced(fresh: Material, field: str) -> None:
    other = renewed(None, NAME, NOW)
    for wrong in (b"", b"nonsense", getattr(other, field)):
        broken = replace(fresh, **{field: wrong})
        assert complaint_about(broken, NAME, NOW)
        assert complaint_about(renewed(broken, NAME, NOW), NAME, NOW) is None


def test_no_key_is_shown(fresh: Material) -> None:
    assert repr(fresh) == "Material(...)"


def test_the_certificate_is_accepted_by_a_client_that_checks_strictly(fresh: Material) -> None:
    context = ssl.create_default_context(cadata=fresh.authorities.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    assert context.cert_store_stats()["x509_ca"] == 1
