"""Certificates that tests make: a private CA, and servers with what it signed, or did not."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Certificate(NamedTuple):
    """A certificate and its key, as PEM files."""

    file: Path
    key_file: Path


class Authority:
    """A CA. Its certificate is `file`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a private CA")])
        extension = x509.BasicConstraints(ca=True, path_length=None)
        made = _builder(self._name, self._name, self._key, 1).add_extension(extension, critical=True)
        self.file = folder / "ca.pem"
        self.file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def certificate(self, name: str, days: int = 1) -> Certificate:
        """A certificate for a host name or an address, which ends in `days` days: below 0, it ended so long ago."""
        return _write(self._folder / f"{name}{days}", name, self._name, self._key, days)


def self_signed(folder: Path, name: str) -> Certificate:
    """A certificate for a host name or an address that no CA has signed."""
    return _write(folder / f"{name}-alone", name, None, None, 1)


def _write(
    path: Path, name: str, issuer: x509.Name | None, signing: ec.EllipticCurvePrivateKey | None, days: int
) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName([_general(name)])
    builder = _builder(subject, issuer or subject, key, days).add_extension(names, critical=False)
    made = Certificate(path.with_suffix(".pem"), path.with_suffix(".key"))
    made.file.write_bytes(builder.sign(signing or key, hashes.SHA256()).public_bytes(Encoding.PEM))
    made.key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return made


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=10))
        .not_valid_after(now + timedelta(days=days))
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
