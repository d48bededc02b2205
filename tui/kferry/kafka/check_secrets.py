"""Whether the references of a cluster's settings lead to something usable, told without telling what."""

from __future__ import annotations

import datetime
import stat
from collections.abc import Iterator
from pathlib import Path

from kferry.domain.errors import KferryError
from kferry.domain.model import ClusterConfig
from kferry.kafka import certificates, secrets
from kferry.kafka.check_lines import FAILED, OK, WARN, Line, Stopwatch, counted, sentence

_TEXTS = ("sasl_username", "sasl_password", "admin_password")
_PEMS = ("ssl_ca", "ssl_certificate", "ssl_key")
_KINDS = {"env": "The variable", "file": "The file", "command": "The command", "vault": "The !vault value"}
_OPEN_TO_OTHERS = 0o077


def check_secrets(cluster: ClusterConfig, *, now: datetime.datetime | None = None) -> Iterator[Line]:
    """One line for each reference and each PEM file; none for what stands there in plain words."""
    moment = now or datetime.datetime.now(datetime.UTC)
    for key in _TEXTS:
        reference = getattr(cluster, key)
        if reference and secrets.is_reference(reference):
            yield _of_text(key, reference)
    for key in _PEMS:
        place = getattr(cluster, key)
        if place:
            yield _of_pem(key, place, moment)


def _of_text(key: str, reference: str) -> Line:
    watch = Stopwatch()
    try:
        value = secrets.resolve(reference)
    except KferryError as error:
        return (key, FAILED, f"{_name(reference)} does not resolve. {error}", watch.seconds)
    words = f"{_name(reference)} resolves: {counted(len(value), 'character')}"
    if value != value.strip():
        return (key, WARN, f"{words}, with blanks or line ends around them. Is that meant?", watch.seconds)
    loose = _loose(reference)
    if loose:
        return (key, WARN, f"{words}; {loose}", watch.seconds)
    return (key, OK, f"{words}.", watch.seconds)


def _of_pem(key: str, place: str, now: datetime.datetime) -> Line:
    watch = Stopwatch()
    is_path = not secrets.is_reference(place)
    reference = f"file:{place}" if is_path else place
    try:
        text = secrets.resolve(reference)
    except KferryError as error:
        return (key, FAILED, f"{_name(reference)} does not resolve. {error}", watch.seconds)
    if key == "ssl_key":
        return _of_key(key, reference, text, watch)
    found = certificates.read(text)
    if not found:
        words = f"{_name(reference)} holds no certificate in PEM form."
        step = "Write a file with -----BEGIN CERTIFICATE----- lines; `keytool -exportcert -rfc` makes one of a JKS."
        return (key, FAILED, sentence(words, step), watch.seconds)
    first = found[0]
    words = f"{_name(reference)}: {counted(len(found), 'certificate')}, {first.subject}"
    if first.not_after < now:
        step = "Get the one that is in use now."
        return (key, FAILED, sentence(f"{words}, expired on {first.not_after:%Y-%m-%d}", step), watch.seconds)
    return (key, OK, f"{words}, valid until {first.not_after:%Y-%m-%d}.", watch.seconds)


def _of_key(key: str, reference: str, text: str, watch: Stopwatch) -> Line:
    if "PRIVATE KEY-----" not in text:
        words = sentence(f"{_name(reference)} holds no private key in PEM form", "Write -----BEGIN PRIVATE KEY-----.")
        return (key, FAILED, words, watch.seconds)
    if "ENCRYPTED" in text:
        step = "openssl pkcs8 -topk8 -nocrypt -in OLD.pem -out NEW.pem"
        words = sentence(
            f"{_name(reference)} is encrypted, which workers on Java 17 cannot open", f"Make it plain: {step}"
        )
        return (key, FAILED, words, watch.seconds)
    loose = _loose(reference)
    return (
        key,
        WARN if loose else OK,
        f"{_name(reference)} holds a private key{f'; {loose}' if loose else '.'}",
        watch.seconds,
    )


def _loose(reference: str) -> str:
    """What is wrong with the rights of the file behind a reference; "" where nothing is, or it is no file."""
    if not reference.startswith("file:"):
        return ""
    path = Path(reference.removeprefix("file:").strip()).expanduser()
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return ""
    if mode & _OPEN_TO_OTHERS:
        return f"others may read it (mode {mode:04o}). Close it: chmod 600."
    return ""


def _name(reference: str) -> str:
    """What a reference names, without what could be secret in it: a command's arguments, a vault's text."""
    kind, _, rest = reference.partition(":")
    what = _KINDS.get(kind, "The reference")
    if kind == "command":
        return f"{what} {rest.split()[0] if rest.split() else ''}".strip()
    if kind == "vault":
        return what
    return f"{what} {rest.strip()}"
