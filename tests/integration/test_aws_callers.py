"""Who may use the AWS wire: signatures, tenants, sockets, TLS, reload; and what is not a request at all."""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from botocore.exceptions import SSLError as BotoSslError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hwkm.audit.reader import read
from tests.aws_daemon import (
    ACCOUNT_A,
    ACCOUNT_B,
    REGION,
    AwsDaemon,
    Key,
    create_credential,
    kms_client,
    refusal,
)
from tests.aws_signing import Signer
from tests.core_process import MemoryToken
from tests.daemon import POLL_S, START_DEADLINE_S, DaemonDied

JSON_1_1 = "application/x-amz-json-1.1"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsDaemon]:
    with AwsDaemon(MemoryToken(tmp_path_factory.mktemp("token"))) as running:
        yield running


@pytest.fixture
def own_daemon(tmp_path: Path) -> Iterator[AwsDaemon]:
    """One that the test may change."""
    with AwsDaemon(MemoryToken(tmp_path)) as running:
        yield running


@pytest.fixture(scope="module")
def key(daemon: AwsDaemon) -> str:
    return str(daemon.client().create_key()["KeyMetadata"]["Arn"])


def signer(daemon: AwsDaemon, key: Key | None = None) -> Signer:
    key = key or daemon.a
    return Signer(key.access_key_id, key.secret_access_key, host=daemon.address)


def post(daemon: AwsDaemon, headers: Mapping[str, str], body: bytes, **options: Any) -> httpx.Response:
    return httpx.post(daemon.url, headers=headers, content=body, timeout=60, **options)


def error_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["Content-Type"] == JSON_1_1
    assert answer.headers["x-amzn-RequestId"]
    return answer.status_code, answer.json()["__type"]


def refused(act: Any, **members: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        act(**members)
    return refusal(caught.value)


def tried(act: Any, **members: Any) -> ClientError | None:
    """The refusal of a request, if it is refused."""
    try:
        act(**members)
    except ClientError as exc:
        return exc
    return None


def reload(daemon: AwsDaemon) -> None:
    """SIGHUP to a daemon that serves, and wait until the credentials were read again."""
    assert daemon.address
    before = daemon.log.count("credentials reloaded") + daemon.log.count("credentials not reloaded")
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + START_DEADLINE_S
    while daemon.log.count("credentials reloaded") + daemon.log.count("credentials not reloaded") <= before:
        assert time.monotonic() < deadline, daemon.log
        time.sleep(POLL_S)


# --- signatures ------------------------------------------------------------------------------


def test_an_unsigned_request_on_the_network_socket_is_refused_whatever_it_asks(daemon: AwsDaemon) -> None:
    for target in ("TrentService.ListKeys", "TrentService.Nonsense", "other", ""):
        answer = post(daemon, {"X-Amz-Target": target, "Content-Type": JSON_1_1}, b"{}")
        assert error_of(answer) == (400, "MissingAuthenticationTokenException")
        assert answer.json()["message"] == "Missing Authentication Token"


def test_the_network_socket_has_nothing_else(daemon: AwsDaemon) -> None:
    for path in ("/v1/status", "/healthz", "/metrics", "/v1/openapi.json", "/"):
        answer = httpx.get(daemon.url + path, timeout=60)
        assert error_of(answer) == (400, "MissingAuthenticationTokenException")


def test_botocores_own_signature_is_accepted_and_a_wrong_secret_is_not(daemon: AwsDaemon) -> None:
    daemon.client().list_keys()
    wrong = Key(daemon.a.access_key_id, "x" * 40)
    assert refused(daemon.client(wrong).list_keys)[0] == "InvalidSignatureException"
    unknown = Key("HWKMAAAAAAAAAAAAAAAA", daemon.a.secret_access_key)
    assert refused(daemon.client(unknown).list_keys)[0] == "UnrecognizedClientException"


@pytest.mark.parametrize("shift_s", [-16 * 60, 16 * 60])
def test_a_clock_that_is_off_by_more_than_a_quarter_of_an_hour_is_refused(
    daemon: AwsDaemon, shift_s: int
) -> None:
    headers = signer(daemon).headers(b"{}", at=int(time.time()) + shift_s, operation="ListKeys")
    answer = post(daemon, headers, b"{}")
    assert error_of(answer) == (400, "InvalidSignatureException")
    assert ("expired" if shift_s < 0 else "not yet current") in answer.json()["message"]


def test_a_signed_request_is_bound_to_its_body_and_its_operation(daemon: AwsDaemon, key: str) -> None:
    body = json.dumps({"KeyId": key}).encode()
    headers = signer(daemon).headers(body, operation="DescribeKey")
    assert post(daemon, headers, body).status_code == 200
    assert error_of(post(daemon, headers, body + b" ")) == (400, "InvalidSignatureException")
    other = {**headers, "X-Amz-Target": "TrentService.ScheduleKeyDeletion"}
    assert error_of(post(daemon, other, body)) == (400, "InvalidSignatureException")


def test_a_request_that_was_copied_is_refused(daemon: AwsDaemon, key: str) -> None:
    client = daemon.client()
    blob = client.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    body = json.dumps({"CiphertextBlob": base64.b64encode(blob).decode()}).encode()
    headers = signer(daemon).headers(body, operation="Decrypt")
    assert post(daemon, headers, body).status_code == 200
    deadline = time.monotonic() + START_DEADLINE_S
    while (answer := post(daemon, headers, body)).status_code == 200:  # while it is young
        assert time.monotonic() < deadline
        time.sleep(0.25)
    assert error_of(answer) == (400, "InvalidSignatureException")
    assert "was used before" in answer.json()["message"]
    headers = signer(daemon).headers(body, operation="Decrypt")
    assert post(daemon, headers, body).status_code == 200


def test_an_sdk_that_sends_the_same_thing_many_times_a_second_is_not_taken_for_a_copy(
    daemon: AwsDaemon, key: str
) -> None:
    client = daemon.client()
    blob = client.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    for _ in range(50):
        assert client.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
    made = {client.create_key()["KeyMetadata"]["KeyId"] for _ in range(5)}
    assert len(made) == 5


def test_botocore_signs_again_when_it_retries(own_daemon: AwsDaemon) -> None:
    """The core dies, so the first tries are answered 500; a later one succeeds, and none is taken for a copy."""
    client = own_daemon.client(retries={"total_max_attempts": 8, "mode": "standard"})
    key = client.create_key()["KeyMetadata"]["Arn"]
    blob = client.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    for _ in range(3):
        own_daemon.kill_core()
        assert client.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"


def test_while_there_is_no_core_the_key_is_unavailable(own_daemon: AwsDaemon) -> None:
    client = own_daemon.client()
    key = client.create_key()["KeyMetadata"]["Arn"]
    own_daemon.kill_core()
    found: set[tuple[str, int]] = set()
    deadline = time.monotonic() + START_DEADLINE_S
    while (refused := tried(client.encrypt, KeyId=key, Plaintext=b"x")) is not None or not found:
        assert time.monotonic() < deadline
        if refused is None:  # the new core was faster than we
            own_daemon.kill_core()
        else:
            found.add((refusal(refused)[0], refused.response["ResponseMetadata"]["HTTPStatusCode"]))
    assert found == {("KeyUnavailableException", 500)}


# --- curl ------------------------------------------------------------------------------------


@pytest.mark.needs("curl")
@pytest.mark.parametrize("over", ["network", "unix"])
def test_curl_signs_too(daemon: AwsDaemon, over: str) -> None:
    where = ["--unix-socket", str(daemon.socket_path)] if over == "unix" else []
    done = subprocess.run(
        [
            *("curl", "--silent", "--show-error", *where, daemon.url + "/", "--data", '{"Limit": 1}'),
            *("--aws-sigv4", f"aws:amz:{REGION}:kms", "--config", "-"),
            *("--header", "X-Amz-Target: TrentService.ListKeys", "--header", f"Content-Type: {JSON_1_1}"),
        ],
        input=f'user = "{daemon.a.access_key_id}:{daemon.a.secret_access_key}"\n',
        capture_output=True,
        text=True,
        timeout=START_DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr
    assert "Keys" in json.loads(done.stdout), done.stdout


# --- the Unix socket -------------------------------------------------------------------------


def unix_post(
    daemon: AwsDaemon, operation: str, members: Any, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    with daemon.http() as http:
        plain = {"X-Amz-Target": f"TrentService.{operation}", "Content-Type": JSON_1_1}
        return http.post("/", headers=headers or plain, content=json.dumps(members).encode())


def test_on_the_unix_socket_the_kernel_says_who_calls(daemon: AwsDaemon) -> None:
    made = unix_post(daemon, "CreateKey", {"Description": "made locally"}).json()["KeyMetadata"]
    assert made["AWSAccountId"] == ACCOUNT_A  # the default account
    described = daemon.client().describe_key(KeyId=made["KeyId"])["KeyMetadata"]
    assert described["Description"] == "made locally"
    assert error_of(unix_post(daemon, "Nonsense", {})) == (400, "UnknownOperationException")


def test_a_signature_on_the_unix_socket_counts_and_is_verified(daemon: AwsDaemon) -> None:
    body = json.dumps({"Description": "b's"}).encode()
    signed = signer(daemon, daemon.b).headers(body, operation="CreateKey")
    made = unix_post(daemon, "CreateKey", {"Description": "b's"}, signed).json()["KeyMetadata"]
    assert made["AWSAccountId"] == ACCOUNT_B
    wrong = {
        **signed,
        "Authorization": signed["Authorization"][:-1] + ("0" if signed["Authorization"][-1] != "0" else "1"),
    }
    assert error_of(unix_post(daemon, "CreateKey", {"Description": "b's"}, wrong)) == (
        400,
        "InvalidSignatureException",
    )


def test_other_methods_and_paths_are_as_before(daemon: AwsDaemon) -> None:
    with daemon.http() as http:
        assert http.get("/").status_code == 404
        assert http.post("/nothing").status_code == 404


# --- tenants and policy ----------------------------------------------------------------------


def test_a_tenant_sees_and_uses_nothing_of_another(daemon: AwsDaemon) -> None:
    a, b = daemon.client(), daemon.client(daemon.b)
    key = a.create_key()["KeyMetadata"]
    alias = f"alias/{uuid.uuid4()}"
    a.create_alias(AliasName=alias, TargetKeyId=key["KeyId"])
    blob = a.encrypt(KeyId=alias, Plaintext=b"a's")["CiphertextBlob"]
    assert refused(b.describe_key, KeyId=key["KeyId"])[0] == "NotFoundException"
    assert refused(b.describe_key, KeyId=key["Arn"])[0] == "AccessDeniedException"
    assert refused(b.describe_key, KeyId=alias)[0] == "NotFoundException"
    assert refused(b.decrypt, CiphertextBlob=blob)[0] in (
        "AccessDeniedException",
        "InvalidCiphertextException",
    )
    assert key["KeyId"] not in {
        entry["KeyId"] for page in b.get_paginator("list_keys").paginate() for entry in page["Keys"]
    }
    assert alias not in {entry["AliasName"] for entry in b.list_aliases()["Aliases"]}
    b.create_alias(AliasName=alias, TargetKeyId=b.create_key()["KeyMetadata"]["KeyId"])  # an alias of its own
    assert a.decrypt(CiphertextBlob=blob)["Plaintext"] == b"a's"


POLICY = """
[[rule]]
credentials = ["a"]
operations = ["key.*"]
keys = ["*"]

[[rule]]
credentials = ["reader"]
operations = ["key.decrypt", "key.generate_data_key"]
keys = ["alias/files"]
require_context = { tenant = "blue" }
"""


def test_the_policy_says_which_keys_and_what_context_a_credential_may_use(tmp_path: Path) -> None:
    daemon = AwsDaemon(MemoryToken(tmp_path), settings={})
    policy = daemon.directory / "policy.toml"
    policy.write_text(POLICY)
    daemon.sections["daemon"] = {"policy_file": str(policy)}
    daemon.settings()
    with daemon:
        reader = create_credential(daemon, "reader", ACCOUNT_A)
        admin = daemon.client()
        assert refused(daemon.client(reader).list_keys)[0] == "UnrecognizedClientException"
        reload(daemon)
        key = admin.create_key()["KeyMetadata"]["KeyId"]
        admin.create_alias(AliasName="alias/files", TargetKeyId=key)
        other = admin.create_key()["KeyMetadata"]["KeyId"]
        client = daemon.client(reader)
        extra = {"tenant": "blue", "aws:s3:arn": "arn:aws:s3:::bucket/object"}
        made = client.generate_data_key(KeyId="alias/files", KeySpec="AES_256", EncryptionContext=extra)
        assert (
            client.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=extra)["Plaintext"]
            == made["Plaintext"]
        )
        for context in ({}, {"tenant": "red"}):
            found = refused(client.generate_data_key, KeyId=key, KeySpec="AES_256", EncryptionContext=context)
            assert found[0] == "AccessDeniedException"
            assert "tenant" in found[1]
        members = {"KeySpec": "AES_256", "EncryptionContext": extra}
        assert refused(client.generate_data_key, KeyId=other, **members)[0] == "AccessDeniedException"
        assert refused(client.list_keys)[0] == "AccessDeniedException"
        assert refused(client.schedule_key_deletion, KeyId=key)[0] == "AccessDeniedException"


# --- credentials -----------------------------------------------------------------------------


def test_a_credential_counts_from_the_next_reload_and_is_gone_after_it_was_revoked(
    own_daemon: AwsDaemon,
) -> None:
    made = create_credential(own_daemon, "later", ACCOUNT_A)
    client = own_daemon.client(made)
    assert refused(client.list_keys)[0] == "UnrecognizedClientException"
    reload(own_daemon)
    client.list_keys()
    listed = own_daemon.command("credential", "list", "--json")
    assert {entry["name"] for entry in json.loads(listed.stdout)} == {"a", "b", "later"}
    assert made.secret_access_key not in listed.stdout
    assert own_daemon.command("credential", "revoke", "later").returncode == 0
    reload(own_daemon)
    assert refused(client.list_keys)[0] == "UnrecognizedClientException"
    own_daemon.client().list_keys()
    assert made.secret_access_key not in own_daemon.log


def test_a_credentials_file_that_is_wrong_changes_nothing(own_daemon: AwsDaemon) -> None:
    path = own_daemon.state_directory / "aws-credentials.toml"
    path.chmod(0o644)
    reload(own_daemon)
    own_daemon.client().list_keys()
    path.chmod(0o600)
    path.write_text("[[credential]]\nname = 'x'\n")
    reload(own_daemon)
    own_daemon.client().list_keys()
    assert own_daemon.log.count("credentials not reloaded") == 2
    own_daemon.terminate()
    with pytest.raises(DaemonDied, match=r"aws-credentials\.toml:1"):
        own_daemon.start()


# --- TLS -------------------------------------------------------------------------------------


def make_certificate(directory: Path) -> tuple[Path, Path]:
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hwkmd")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    certificate, key = directory / "cert.pem", directory / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    key.chmod(0o600)
    return certificate, key


def test_with_a_certificate_the_network_socket_speaks_tls_only(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    tls = {"tls_certificate": str(certificate), "tls_key": str(key)}
    with AwsDaemon(MemoryToken(tmp_path), aws=tls) as daemon:
        assert daemon.url.startswith("https://")
        client = kms_client(daemon.url, daemon.a, verify=str(certificate))
        arn = client.create_key()["KeyMetadata"]["Arn"]
        assert client.encrypt(KeyId=arn, Plaintext=b"x")["KeyId"] == arn
        with pytest.raises(BotoSslError):
            daemon.client().list_keys()
        with pytest.raises(httpx.TransportError):
            httpx.post(daemon.url.replace("https", "http"), timeout=60)


@pytest.mark.parametrize("what", ["mode", "mismatch", "absent", "garbage"])
def test_a_certificate_that_will_not_do_keeps_the_daemon_from_starting(tmp_path: Path, what: str) -> None:
    certificate, key = make_certificate(tmp_path)
    if what == "mode":
        key.chmod(0o644)
    elif what == "mismatch":
        (tmp_path / "other").mkdir()
        _, key = make_certificate(tmp_path / "other")
    elif what == "absent":
        certificate.unlink()
    else:
        key.write_text("garbage")
    daemon = AwsDaemon(MemoryToken(tmp_path), aws={"tls_certificate": str(certificate), "tls_key": str(key)})
    with pytest.raises(DaemonDied, match=r"ended with 78(.|\n)*(key|cert)\.pem"), daemon:
        pass


def test_an_address_in_use_keeps_the_daemon_from_starting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        daemon = AwsDaemon(MemoryToken(tmp_path), aws={"listen": listen})
        with pytest.raises(DaemonDied, match="ended with 78"), daemon:
            pass


# --- what is no request, or too much ---------------------------------------------------------


def test_a_body_over_the_limit_is_refused(daemon: AwsDaemon) -> None:
    body = b" " * (256 * 1024 + 1)
    answer = post(daemon, signer(daemon).headers(body, operation="ListKeys"), body)
    assert error_of(answer) == (400, "ValidationException")
    assert "262144 bytes" in answer.json()["message"]
    daemon.client().list_keys()


def test_a_wrong_content_type_a_query_and_another_method_are_refused(daemon: AwsDaemon) -> None:
    headers = signer(daemon).headers(b"{}", operation="ListKeys", more={"Content-Type": "application/json"})
    assert error_of(post(daemon, headers, b"{}")) == (400, "SerializationException")
    unix = {"X-Amz-Target": "TrentService.ListKeys", "Content-Type": JSON_1_1}
    with daemon.http() as http:
        assert error_of(http.post("/?a=b", headers=unix, content=b"{}")) == (400, "UnknownOperationException")


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/2\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: AWS4-HMAC-SHA256 " + b"a" * 9000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_is_answered_and_closed(daemon: AwsDaemon, data: bytes) -> None:
    host, _, port = daemon.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
    daemon.client().list_keys()


def test_connections_over_the_limit_are_refused(tmp_path: Path) -> None:
    daemon = AwsDaemon(MemoryToken(tmp_path))
    daemon.sections["limits"] = {"connections": 8, "connections_per_uid": 4}
    daemon.settings()
    with daemon:
        host, _, port = daemon.address.rpartition(":")
        held = [socket.create_connection((host, int(port)), timeout=60) for _ in range(4)]
        try:
            with socket.create_connection((host, int(port)), timeout=60) as refused_one:
                assert b" 429 " in refused_one.recv(65536)
            assert daemon.status().state == "ready"  # the Unix socket has places of its own users
        finally:
            for connection in held:
                connection.close()


# --- the audit log ---------------------------------------------------------------------------


def test_every_operation_is_in_the_audit_log_and_no_secret_is(own_daemon: AwsDaemon) -> None:
    client = own_daemon.client()
    made = client.create_key(Description="a description nobody logs")
    arn = made["KeyMetadata"]["Arn"]
    data_key = client.generate_data_key(KeyId=arn, KeySpec="AES_256", EncryptionContext={"tenant": "blue"})
    refused(client.decrypt, CiphertextBlob=data_key["CiphertextBlob"])
    refused(client.list_grants, KeyId=arn)
    too_much = {"k": "x" * 9000}
    refused(client.generate_data_key, KeyId=arn, KeySpec="AES_256", EncryptionContext=too_much)
    post(own_daemon, {"X-Amz-Target": "TrentService.ListKeys"}, b"{}")
    request_id = data_key["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
    own_daemon.terminate()
    found = [record for record in read(own_daemon.state_directory / "audit") if record.caller.access_key]
    assert [(record.operation, record.outcome) for record in found] == [
        ("key.create", "ok"),
        ("key.generate_data_key", "ok"),
        ("key.decrypt", "ciphertext_invalid"),
        ("aws.list_grants", "unsupported"),
        ("key.generate_data_key", "bad_format"),
    ]
    _, generated, decrypted, _, over = found
    for record in found:
        assert (record.caller.access_key, record.caller.account) == (own_daemon.a.access_key_id, ACCOUNT_A)
    assert (generated.key, generated.key_version, generated.context) == (arn, 1, {"tenant": "blue"})
    assert generated.request == request_id
    assert (decrypted.key, decrypted.context) == (arn, None)
    assert (over.context, over.detail) == (None, {"context": "refused"})
    log = b"".join(
        path.read_bytes() for path in (own_daemon.state_directory / "audit").rglob("*") if path.is_file()
    )
    for secret in (own_daemon.a.secret_access_key, "a description nobody logs"):
        assert secret.encode() not in log
        assert secret not in own_daemon.log
    assert os.fsencode(data_key["Plaintext"].hex()) not in log


def test_unauthenticated_requests_are_counted(daemon: AwsDaemon) -> None:
    before = daemon.metrics()["hwkm_aws_unauthenticated_total"]
    post(daemon, {}, b"{}")
    assert daemon.metrics()["hwkm_aws_unauthenticated_total"] == before + 1
