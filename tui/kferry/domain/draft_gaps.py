"""What is missing in the description of a cluster, or contradicts what its service documents; as sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kferry.domain.drafts import KEPT, Draft, Gap, fields_of, is_reference, servers_of, servers_text
from kferry.domain.model import ClusterKind
from kferry.domain.sources import KINDS, Kind, Way

_CKAFKA_USER = re.compile(r"ckafka-[0-9a-z]+#.+", re.IGNORECASE)
_MANY_SERVERS = 2
_WRITE_REFERENCE = "Write env:NAME, file:/path or command:...: a secret itself is never written down, sent or kept."


def gaps(draft: Draft) -> tuple[Gap, ...]:
    """Everything that keeps the draft from being used, first; then what looks wrong."""
    found = [*_servers(draft), *_login(draft), *_trust(draft)]
    return tuple(sorted(found, key=lambda gap: not gap.stops))


def _servers(draft: Draft) -> Iterator[Gap]:
    field, kind, way = "bootstrap_servers", draft.its_kind, draft.its_way
    text = servers_text(draft.bootstrap_servers)
    if not text:
        yield Gap(field, f"Bootstrap servers are missing, for example {kind.example}")
        return
    found = servers_of(text)
    if len(found) != len(text.split(",")):
        good = {f"{host}:{port}" for host, port in found}
        bad = next(part for part in text.split(",") if part not in good)
        yield Gap(field, f"{bad!r} is not host:port with a port of 1 to 65535.")
        return
    ports = sorted({port for _, port in found})
    yield from _ports(kind, way, ports)
    for other in KINDS.values():
        if other.hosts and other.kind is not draft.kind and re.search(other.hosts, found[0][0]):
            yield Gap("kind", f"{found[0][0]} looks like {other.title}.", stops=False)
    if len(found) < _MANY_SERVERS and draft.kind in (ClusterKind.APACHE_KAFKA, ClusterKind.MSK):
        yield Gap(field, "One server only: if it is down, nothing begins. Name two or three brokers.", stops=False)


def _ports(kind: Kind, way: Way, ports: list[int]) -> Iterator[Gap]:
    if len(ports) > 1 and way.ports:
        yield Gap(
            "bootstrap_servers", f"The servers have different ports ({_and(ports)}): each way has one.", stops=False
        )
    for port in ports:
        if not way.ports or port in way.ports:
            continue
        others = [other.title for other in kind.ways if port in other.ports]
        usual = _and(way.ports)
        if others:
            yield Gap("way", f"Port {port} is that of “{others[0]}”; “{way.title}” has {usual}.", stops=False)
        elif kind.kind in (ClusterKind.MSK, ClusterKind.ALIBABA):
            yield Gap("bootstrap_servers", f"{kind.title} has “{way.title}” on port {usual}, not {port}.", stops=False)


def _login(draft: Draft) -> Iterator[Gap]:
    way, asked = draft.its_way, fields_of(draft)
    if "user" in asked:
        if not draft.user.strip():
            yield Gap("user", f"The user is missing: {way.user_words or 'the name the brokers know kferry by'}.")
        elif (
            draft.kind is ClusterKind.TENCENT and not _is_unread(draft.user) and not _CKAFKA_USER.fullmatch(draft.user)
        ):
            yield Gap("user", f"CKafka's users are {way.user_words}.", stops=False)
    if "password" in asked:
        if not draft.password.strip():
            yield Gap("password", f"The password's reference is missing. {_WRITE_REFERENCE}")
        elif not is_reference(draft.password.strip()):
            yield Gap("password", f"This is not a reference. {_WRITE_REFERENCE}")
    if draft.mechanism == "PLAIN" and way.protocol == "SASL_PLAINTEXT":
        yield Gap("mechanism", "PLAIN without TLS sends the password readable over the network.", stops=False)


def _trust(draft: Draft) -> Iterator[Gap]:
    way = draft.its_way
    if way.certificate:
        for field, words in (("certificate", "client certificate"), ("key", "private key of the certificate")):
            if not str(getattr(draft, field)).strip():
                yield Gap(field, f"The {words} is missing: the path of a PEM file, or a reference.")
    if way.ca == "own" and not draft.ca.strip():
        yield Gap("ca", "Its brokers use a CA of the service's own: name its PEM file.")
    for field in ("ca", "certificate", "key"):
        if "-----BEGIN" in str(getattr(draft, field)):
            yield Gap(field, "This is the PEM itself: save it as a file (mode 0600) and write its path.")


def _is_unread(text: str) -> bool:
    """A user name may be a reference too: what it names is not known here."""
    return text == KEPT or is_reference(text)


def _and(ports: tuple[int, ...] | list[int]) -> str:
    return " or ".join(map(str, ports))
