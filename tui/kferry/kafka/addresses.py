"""Reads a list of bootstrap servers, and writes one."""

from __future__ import annotations

_DEFAULT_PORT = 9092


def bootstrap_addresses(bootstrap_servers: str) -> list[tuple[str, int]]:
    """Host and port of each bootstrap server; IPv6 hosts stand in brackets."""
    addresses = []
    for item in bootstrap_servers.split(","):
        text = item.strip().rpartition("://")[2]
        if not text:
            continue
        if text.startswith("["):
            host, _, rest = text[1:].partition("]")
            port = rest.removeprefix(":")
        else:
            host, _, port = text.partition(":")
        addresses.append((host, int(port) if port.isdigit() else _DEFAULT_PORT))
    return addresses


def address(host: str, port: int) -> str:
    """`host:port`; an IPv6 host stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
