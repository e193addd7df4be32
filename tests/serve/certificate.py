"""Certificates for tests, made with the system's openssl."""

import subprocess
from pathlib import Path

import pytest

__all__ = ["make_certificate"]


def make_certificate(folder: Path, host: str = "localhost") -> tuple[Path, Path]:
    """Return a certificate for `host` that vouches for itself, and its key; skip where nothing makes one."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    try:
        subprocess.run(
            [
                *(
                    "openssl",
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                    "-nodes",
                ),
                *("-keyout", key, "-out", cert, "-days", "2", "-subj", f"/CN={host}"),
                *("-addext", f"subjectAltName=DNS:{host}"),
            ],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("no openssl on this machine makes the certificate")
    return cert, key
