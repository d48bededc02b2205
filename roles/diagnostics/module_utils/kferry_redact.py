"""Take secrets out of texts before they leave the machine. Standard library only."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote, quote_plus

MARK = "***"
# A word this short is found everywhere; replacing it would only garble. The rules by key still catch it.
MIN_LITERAL = 4
# Bounded everywhere: a log is text from outside and must not make the search slow.
_WORD = (
    r"(?:password|passwd|passphrase|secret|token|jaas|credential|private[._-]?key|access[._-]?key|api[._-]?key"
    r"|keystore[._-]?key|ssl[._-]key|_key|authorization)"
)
_KEY = rf"{_WORD}[\w.\-]{{0,60}}"
# a reference names where a secret lies and is worth reading; it is laid aside while the rules are applied
_REFERENCE = re.compile(r"\$\{file:/[^}\s:]{1,300}:[a-z0-9_]{1,60}\}")
_ASIDE = re.compile(r"\0(\d{1,9})\0")
# key=value of properties, key: value of YAML and logs; a value ends with its line, and goes on after a backslash
_LINE = re.compile(
    rf"(?im)^(?P<before>[ \t#]{{0,40}}[\w.\-]{{0,80}}?{_KEY}[ \t]{{0,9}}[=:][ \t]{{0,9}})"
    r"(?P<value>(?:[^\n\\]|\\\n|\\.)+)"
)
# "key": "value" of JSON, also escaped within another text; key="value" of JAAS; key='value'
_QUOTED = re.compile(
    rf"(?i)(?P<before>{_KEY}\\{{0,9}}[\"']?\s{{0,9}}[=:]\s{{0,9}})(?P<quote>\\{{0,9}}[\"'])"
    r"(?P<value>(?:(?!(?P=quote))(?:\\.|.)){0,9000})(?P<end>(?P=quote)|\Z)",
    re.DOTALL,
)
# key=value within a line: URLs, argument lists, logs, numbers of JSON
_INLINE = re.compile(rf"(?i)(?P<before>{_KEY}\\{{0,9}}[\"']?\s{{0,9}}[=:]\s{{0,9}})(?P<value>[^\s,;&\"'\\}}\])]+)")
_JAAS = re.compile(r"(?i)(LoginModule\s{1,9}(?:required|requisite|sufficient|optional))[^;\n]*;?")
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
_CREDENTIALS = re.compile(r"(?i)\b(basic|bearer)\s{1,9}[A-Za-z0-9+/=._~-]{6,}")
_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,20}://)[^\s/@:]{0,200}:[^\s/@]{1,500}@")


def redact(text, secrets=()):
    """The text without these secrets in any usual spelling, and without values that look like one."""
    for form in _spellings(secrets):
        text = text.replace(form, MARK)
    aside = []

    def lay_aside(found):
        aside.append(found.group())
        return f"\0{len(aside) - 1}\0"

    text = _REFERENCE.sub(lay_aside, text.replace("\0", " "))
    text = _PEM.sub(lambda found: f"-----BEGIN {found.group(1)}-----{MARK}", text)
    text = _JAAS.sub(rf"\1 {MARK};", text)
    text = _CREDENTIALS.sub(rf"\1 {MARK}", text)
    text = _URL.sub(rf"\1{MARK}@", text)
    text = _QUOTED.sub(
        lambda found: found.group("before") + found.group("quote") + _masked(found) + found.group("end"), text
    )
    text = _LINE.sub(lambda found: found.group("before") + _masked(found), text)
    text = _INLINE.sub(lambda found: found.group("before") + _masked(found), text)
    return _ASIDE.sub(lambda found: aside[int(found.group(1))], text)


def _masked(found):
    value = found.group("value")
    if _ASIDE.fullmatch(value.strip().strip("\"',")) or value in ("null", "true", "false", ""):
        return value
    return MARK


def _spellings(secrets):
    """Every secret as it stands in properties, JSON, URLs, headers and on one line; the longest first."""
    found = set()
    for secret in secrets:
        for part in {secret, secret.strip(), *secret.splitlines(), *_parts_of(secret)}:
            if len(part.strip()) < MIN_LITERAL or part.startswith("-----"):
                continue
            escaped = json.dumps(part)[1:-1]
            plain = json.dumps(part, ensure_ascii=False)[1:-1]
            slashed = part.replace("\\", "\\\\").replace('"', '\\"')
            found |= {part, escaped, plain, slashed, json.dumps(escaped)[1:-1], json.dumps(slashed)[1:-1]}
            found |= {quote(part, safe=""), quote(part), quote_plus(part)}
            found |= {base64.b64encode(part.encode()).decode(), base64.b64encode(f"kferry:{part}".encode()).decode()}
            found.add(re.sub(r"([=:#! ])", r"\\\1", slashed))
    return sorted((form for form in found if len(form) >= MIN_LITERAL), key=len, reverse=True)


def _parts_of(secret):
    """The quoted values of a JAAS line: the password may be written down without the line around it."""
    for found in re.finditer(r'(?i)(?:password|secret|token)\s*=\s*"((?:\\.|[^"\\])*)"', secret):
        yield found.group(1)
        yield re.sub(r"\\(.)", r"\1", found.group(1))


def key_names(text):
    """Of a file that is all secrets: the keys, and that there is a value."""
    names = [re.split(r"(?<!\\)[=:]", line, maxsplit=1)[0].strip() for line in text.splitlines() if _is_entry(line)]
    return "".join(f"{name}={MARK}\n" for name in names if re.fullmatch(r"[\w.\-]{1,80}", name))


def _is_entry(line):
    return bool(line.strip()) and line.lstrip()[0] not in "#!" and re.search(r"(?<!\\)[=:]", line) is not None
