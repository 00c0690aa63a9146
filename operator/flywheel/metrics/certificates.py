"""The authority and the serving certificate of the metrics API: made, judged and renewed without any help."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LASTS = timedelta(days=3650)
AUTHORITY_RENEWED = timedelta(days=365)
"""So long before its end a new authority takes over; both are trusted until the old one ends."""
SERVING_LASTS = timedelta(days=90)
SERVING_RENEWED = timedelta(days=30)
# The clocks of two machines differ.
BEFORE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Material:
    """What serving takes, in PEM. `authorities` holds the present authority first, then those that were before it."""

    authorities: bytes
    authority_key: bytes
    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        """Show no key."""
        return "Material(...)"


def complaint_about(material: Material, name: str, now: datetime) -> str | None:
    """Say why `material` cannot be served under `name` any longer, or None while it can."""
    try:
        authority = x509.load_pem_x509_certificates(material.authorities)[0]
        certificate = x509.load_pem_x509_certificate(material.certificate)
        keys = [_key(material.authority_key).public_key(), _key(material.key).public_key()]
        certificate.verify_directly_issued_by(authority)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, IndexError, InvalidSignature, x509.ExtensionNotFound) as error:
        return f"it is no pair of an authority and a certificate signed by it: {error}"
    if keys != [authority.public_key(), certificate.public_key()]:
        return "its keys do not belong to its certificates"
    if name not in names.get_values_for_type(x509.DNSName):
        return f"its certificate is not for {name}"
    if now > authority.not_valid_after_utc - AUTHORITY_RENEWED:
        return f"its authority ends at {authority.not_valid_after_utc}"
    if now > certificate.not_valid_after_utc - SERVING_RENEWED:
        return f"its certificate ends at {certificate.not_valid_after_utc}"
    return None


def renewed(present: Material | None, name: str, now: datetime) -> Material:
    """Make a new certificate for `name`, by the present authority where that is still good for it."""
    authority = _usable_authority(present, now)
    if authority is None:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _authority(key, now)
        authorities = [certificate, *_still_trusted(present, now)]
    else:
        key, authorities = authority
        certificate = authorities[0]
    serving_key = ec.generate_private_key(ec.SECP256R1())
    serving = _serving(serving_key, name, certificate, key, now)
    return Material(
        authorities=b"".join(_pem(each) for each in authorities),
        authority_key=_key_pem(key),
        certificate=_pem(serving),
        key=_key_pem(serving_key),
    )


def _usable_authority(
    present: Material | None, now: datetime
) -> tuple[ec.EllipticCurvePrivateKey, list[x509.Certificate]] | None:
    if present is None:
        return None
    try:
        authorities = x509.load_pem_x509_certificates(present.authorities)
        key = _key(present.authority_key)
    except (ValueError, TypeError):
        return None
    first = authorities[0]
    if key.public_key() != first.public_key() or now > first.not_valid_after_utc - AUTHORITY_RENEWED:
        return None
    return key, [first, *(each for each in authorities[1:] if each.not_valid_after_utc > now)]


def _still_trusted(present: Material | None, now: datetime) -> Sequence[x509.Certificate]:
    try:
        before = x509.load_pem_x509_certificates(present.authorities) if present else []
    except ValueError:
        return []
    return [each for each in before if each.not_valid_after_utc > now][:1]


def _authority(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "flywheel-external-metrics-ca")])
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        _builder(name, name, key.public_key(), now, AUTHORITY_LASTS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _serving(
    key: ec.EllipticCurvePrivateKey,
    name: str,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> x509.Certificate:
    # A common name holds 64 characters, and nobody looks at it: the alternative name counts.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    issued_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        _builder(subject, authority.subject, key.public_key(), now, SERVING_LASTS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(issued_by, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lasts: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BEFORE)
        .not_valid_after(now + lasts)
    )


def _key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("a key is not of an elliptic curve")
    return key


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
