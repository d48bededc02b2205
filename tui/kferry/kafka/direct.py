"""One logged-in connection to one broker for requests that the client library lacks, or answers by ending the process.

Client quotas have no call there, SCRAM users asked for without the right abort it, and ACLs that may not be read look
like none. Every request has a deadline, and every answer keeps the broker's own error code.
"""

from __future__ import annotations

import socket
import struct
import time
from types import TracebackType

from kferry.domain import security
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import ClusterConfig
from kferry.kafka import msk_iam, secrets, tls
from kferry.kafka.addresses import address, bootstrap_addresses
from kferry.kafka.scram_login import HASHES, LoginRefusedError, ScramLogin
from kferry.kafka.wire import WireError, WireReader, pack_bytes, pack_string

_HANDSHAKE, _VERSIONS, _AUTHENTICATE = 17, 18, 36
_MAX_ANSWER_BYTES = 64 << 20
_CLIENT_ID = "kferry"
_ADDRESS_SECONDS = 5.0


class DirectSession:
    """Connects and logs in when entered. Raises KferryError (CONNECT) where no bootstrap server can be used."""

    def __init__(self, cluster: ClusterConfig, *, timeout_seconds: float = 20.0) -> None:
        self.cluster = cluster
        self.address = ""
        self._deadline = time.monotonic() + timeout_seconds
        self._socket: socket.socket | None = None
        self._correlation = 0
        self._versions: dict[int, tuple[int, int]] = {}

    def __enter__(self) -> DirectSession:
        security.refuse_old_waiver(self.cluster, time.time_ns() // 1_000_000)
        heard = []
        until, places = self._deadline, bootstrap_addresses(self.cluster.bootstrap_servers)
        for at, (host, port) in enumerate(places):
            # a server that accepts and is silent costs its share of the time only: the next one may be alive
            now = time.monotonic()
            self._deadline = now + (until - now) / (len(places) - at)
            self.address = address(host, port)
            try:
                self._connect(host, port)
            except LoginRefusedError as error:
                self.close()
                raise self._refused_login(str(error)) from None
            except (OSError, WireError) as error:
                self.close()
                heard.append(f"{self.address}: {getattr(error, 'strerror', None) or error}")
            except BaseException:
                self.close()
                raise
            else:
                self._deadline = until
                return self
            if time.monotonic() >= until:
                break
        raise KferryError(
            f"Cannot reach the {self.cluster.role.value} cluster at {self.cluster.bootstrap_servers}.",
            cause=f"{'; '.join(heard[:3]) or 'bootstrap_servers names no address'}.",
            next_step="Test the connection (kferry check), which tells DNS, TCP, TLS and login apart.",
            kind=ErrorKind.CONNECT,
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if isinstance(error, WireError):
            raise KferryError(
                f"An answer of the {self.cluster.role.value} cluster at {self.address} cannot be read.",
                cause=f"{error}.",
                next_step="See whether something between here and the brokers changes what they send.",
                kind=ErrorKind.CONNECT,
            ) from error

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def speaks(self, api: int, version: int) -> bool:
        """Whether the broker knows this version of a request."""
        oldest, newest = self._versions.get(api, (0, -1))
        return oldest <= version <= newest

    def call(self, api: int, version: int, body: bytes, *, flexible: bool = False) -> WireReader:
        """Send one request and read its answer. Raises KferryError where the connection breaks or time is over.

        `flexible` is for versions whose headers carry tagged fields.
        """
        try:
            return self._call(api, version, body, flexible)
        except (OSError, WireError) as error:
            self.close()
            raise KferryError(
                f"The {self.cluster.role.value} cluster at {self.address} broke off in the middle of a request.",
                cause=f"{error or type(error).__name__}.",
                next_step="See the brokers' log, then try again.",
                kind=ErrorKind.CONNECT,
            ) from error

    # ---- connecting -------------------------------------------------------------------------------------------------

    def _connect(self, host: str, port: int) -> None:
        protocol = self.cluster.security_protocol.upper()
        left = min(_ADDRESS_SECONDS, self._left())
        self._socket = socket.create_connection((host, port), timeout=left)
        if protocol.endswith("SSL"):
            self._socket = tls.wrapped(self.cluster, self._socket, host)
        self._versions = self._api_versions()
        if protocol.startswith("SASL"):
            self._log_in()

    def _api_versions(self) -> dict[int, tuple[int, int]]:
        answer = self._call(_VERSIONS, 0, b"", False)
        error = answer.int16()
        if error:
            raise WireError(f"it does not tell its versions (error {error})")
        found = {}
        for _ in range(answer.array_length()):
            api = answer.int16()
            found[api] = (answer.int16(), answer.int16())
        return found

    def _log_in(self) -> None:
        mechanism = (self.cluster.sasl_mechanism or "").upper()
        if mechanism == security.MSK_IAM:
            self._token_login()
            return
        username = secrets.value_of(self.cluster.sasl_username or "")
        password = secrets.resolve(self.cluster.sasl_password or "")
        self._handshake(mechanism)
        if mechanism in HASHES:
            login = ScramLogin(mechanism, username, password)
            login.verify(self._token(login.final(self._token(login.first()))))
        else:
            self._token(f"\0{username}\0{password}".encode())

    def _token_login(self) -> None:
        region = security.aws_region(self.cluster) or ""
        token, _expires = msk_iam.token(self.cluster, region)
        self._handshake("OAUTHBEARER")
        self._token(f"n,,\x01auth=Bearer {token}\x01\x01".encode())

    def _handshake(self, mechanism: str) -> None:
        answer = self._call(_HANDSHAKE, 1 if self.speaks(_AUTHENTICATE, 0) else 0, pack_string(mechanism), False)
        error = answer.int16()
        offered = [answer.string() for _ in range(answer.array_length())]
        if error or mechanism not in offered:
            raise LoginRefusedError(f"it does not offer {mechanism}, but {', '.join(sorted(offered)) or 'nothing'}")

    def _token(self, token: bytes) -> bytes:
        if not self.speaks(_AUTHENTICATE, 0):  # brokers before 1.0 take the tokens unwrapped
            self._send(pack_bytes(token))
            try:
                return self._receive()
            except (ConnectionResetError, WireError):  # all that they say of a wrong password
                heard = "it closed the connection, as brokers before 1.0 do where user or password are wrong"
                raise LoginRefusedError(heard) from None
        answer = self._call(_AUTHENTICATE, 0, pack_bytes(token), False)
        error, words = answer.int16(), answer.nullable_string()
        if error:
            raise LoginRefusedError((words or f"error {error}").rstrip("."))
        return answer.take(max(0, answer.int32()))

    def _refused_login(self, words: str) -> KferryError:
        return KferryError(
            f"The {self.cluster.role.value} cluster at {self.address} refuses the login.",
            cause=f"It says: {words}." if self.speaks(_AUTHENTICATE, 0) else f"{words[:1].upper()}{words[1:]}.",
            next_step="Check the mechanism, the user and its password, and that the user exists there.",
            kind=ErrorKind.CONNECT,
        )

    # ---- bytes ------------------------------------------------------------------------------------------------------

    def _call(self, api: int, version: int, body: bytes, flexible: bool) -> WireReader:
        self._correlation += 1
        header = struct.pack(">hhi", api, version, self._correlation) + pack_string(_CLIENT_ID)
        self._send(pack_bytes(header + (b"\0" if flexible else b"") + body))
        answer = WireReader(self._receive())
        if answer.int32() != self._correlation:
            raise WireError("an answer to something else")
        if flexible:
            answer.tagged_fields()
        return answer

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        return left

    def _send(self, data: bytes) -> None:
        connected = self._open()
        connected.settimeout(self._left())
        connected.sendall(data)

    def _receive(self) -> bytes:
        length = int.from_bytes(self._exactly(4), "big", signed=True)
        if not 0 <= length <= _MAX_ANSWER_BYTES:
            raise WireError("the port does not answer in Kafka's protocol")
        return self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        received = bytearray()
        connected = self._open()
        while len(received) < count:
            connected.settimeout(self._left())
            part = connected.recv(count - len(received))
            if not part:
                raise WireError("it closed the connection")
            received += part
        return bytes(received)

    def _open(self) -> socket.socket:
        if self._socket is None:
            raise WireError("the connection is closed")
        return self._socket
