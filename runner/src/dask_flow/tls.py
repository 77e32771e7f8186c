"""The key pair of one run: every party of its cluster proves by it that it belongs to this run, and trusts no other."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Security

__all__ = ["KeyPair"]

# A run of any length fits; the key itself is gone with the run.
VALID_DAYS = 365
CLOCK_SKEW = dt.timedelta(hours=1)


@dataclasses.dataclass(frozen=True)
class KeyPair:
    """A self-signed certificate and its private key, both as PEM texts. The key is in no repr, hence in no log."""

    certificate: str
    key: str = dataclasses.field(repr=False)

    @classmethod
    def generate(cls) -> KeyPair:
        """Make a new one, of an elliptic curve: its key is made in less than a millisecond."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "dask-flow")])
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(now + dt.timedelta(days=VALID_DAYS))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("dask-flow")]), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(
            certificate=certificate.public_bytes(serialization.Encoding.PEM).decode(),
            key=key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ).decode(),
        )

    def security(self) -> Security:
        """Return what Dask needs to speak as this run's client or scheduler, and to refuse all others."""
        from distributed import Security

        roles = {f"tls_{role}_cert": self.certificate for role in ("client", "scheduler", "worker")}
        roles |= {f"tls_{role}_key": self.key for role in ("client", "scheduler", "worker")}
        return Security(require_encryption=True, tls_ca_file=self.certificate, **roles)
