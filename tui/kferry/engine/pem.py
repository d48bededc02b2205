"""PEM texts as Java takes them: whole certificates, and a private key in plain PKCS #8."""

from __future__ import annotations

import re

from kferry.domain.errors import ErrorKind, KferryError

# One variable of a process's environment can hold no more; this leaves room for its name.
_MAX_BYTES = 120_000
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s.*?-----END \1-----", re.DOTALL)
_CONVERT = "openssl pkcs8 -topk8 -nocrypt -in OLD.pem -out NEW.pem"


def certificates(text: str, what: str) -> str:
    """The certificates of a PEM text, without the comments between them. `what` names it in a complaint."""
    blocks = [match[0] for match in _BLOCK.finditer(text) if match[1] in ("CERTIFICATE", "TRUSTED CERTIFICATE")]
    if not blocks:
        raise _refused(what, "it holds no certificate", "Write a PEM file with -----BEGIN CERTIFICATE----- lines.")
    joined = "\n".join(blocks) + "\n"
    if len(joined) > _MAX_BYTES:
        raise _refused(
            what,
            f"its {len(blocks)} certificates are {len(joined):,} bytes; {_MAX_BYTES:,} is the most",
            "Write only the CA that signed the brokers' certificates, not a whole bundle.",
        )
    return joined


def private_key(text: str, what: str) -> str:
    """The private key of a PEM text; one with a password, or in a form that Java does not read, is refused."""
    blocks = [match for match in _BLOCK.finditer(text) if match[1].endswith("PRIVATE KEY")]
    if len(blocks) != 1:
        number = "no" if not blocks else f"{len(blocks)}"
        raise _refused(what, f"it holds {number} private keys instead of one", "Write one -----BEGIN PRIVATE KEY-----.")
    kind, block = blocks[0][1], blocks[0][0]
    if kind == "ENCRYPTED PRIVATE KEY" or "ENCRYPTED" in block.partition("\n\n")[0]:
        raise _refused(
            what,
            "it is encrypted with a password, which Java before 19 cannot open (PBES2)",
            f"Keep it plain in a file of mode 0600: {_CONVERT}",
        )
    if kind != "PRIVATE KEY":
        raise _refused(what, f"it is in the older form {kind}, which Java does not read", f"Convert it: {_CONVERT}")
    return block + "\n"


def _refused(what: str, why: str, next_step: str) -> KferryError:
    return KferryError(f"Workers cannot use {what}: {why}.", next_step=next_step, kind=ErrorKind.USAGE)
