"""Bytes become requests however they are cut, within limits; what is ambiguous ends the connection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkm.errors import FormatError, HwkmError, LimitExceeded
from hwkm.server.http_messages import Request, Response
from hwkm.server.http_parser import HEADERS_MAX, RequestParser, SizeLimits
from tests.fuzz.byte_strings import near

LIMITS = SizeLimits(header_bytes=200, body_bytes=1000)
POST = b"POST /v1/x HTTP/1.1\r\nHost: h\r\n"
GET = b"GET /v1/y?a=b HTTP/1.1\r\nHost: h\r\n\r\n"


def fixed(body: bytes) -> bytes:
    return POST + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(*parts: bytes) -> bytes:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def parse(*parts: bytes) -> tuple[RequestParser, list[Request]]:
    parser = RequestParser(LIMITS, lambda request: request.method != "DELETE")
    requests: list[Request] = []
    for part in parts:
        if not parser.is_over:
            requests += parser.feed(part)
    return parser, requests


def refusal_of(sent: bytes) -> HwkmError:
    parser, (request,) = parse(sent)
    assert parser.is_over
    assert not parser.is_whole
    assert not request.keep_alive
    with pytest.raises(HwkmError) as refused:
        request.body  # noqa: B018
    return refused.value


def broken_by(sent: bytes) -> Response:
    parser, requests = parse(sent)
    assert requests == []
    assert parser.is_over
    assert parser.broken is not None
    assert parser.broken.close
    return parser.broken


# --- what is read ----------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=4), st.lists(st.integers(1, 90), max_size=20))
def test_requests_come_back_however_the_stream_is_cut(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(fixed(body) + chunked(body, body) + GET for body in bodies)
    parts = []
    for size in [*cuts, len(stream) or 1]:
        parts.append(stream[:size])
        stream = stream[size:]
    parser, requests = parse(*parts)
    expected = [part for body in bodies for part in (body, body * 2, b"")]
    assert [request.body for request in requests] == expected
    assert not parser.is_over


def test_the_head_is_given_as_it_was_sent_with_names_in_lower_case() -> None:
    _, (request,) = parse(b"PUT /a%20b/c?q=%C3%A9&r= HTTP/1.1\r\nX-One:  a  b \t\r\nx-one:\r\n\r\n")
    assert (request.method, request.target, request.path) == ("PUT", "/a%20b/c?q=%C3%A9&r=", "/a b/c")
    assert request.headers == [(b"x-one", b"a  b"), (b"x-one", b"")]
    assert request.query == [("q", "é"), ("r", "")]
    assert request.keep_alive
    assert not request.is_http_1_0


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"http://host/v1/x?a=1", "/v1/x", [("a", "1")]),
        (b"http://host", "/", []),
        (b"/%FF", "/%FF", []),
        (b"/v1/status/..", "/v1/status/..", []),
    ],
)
def test_targets(target: bytes, path: str, query: list[tuple[str, str]]) -> None:
    _, (request,) = parse(b"GET " + target + b" HTTP/1.1\r\n\r\n")
    assert (request.path, request.query) == (path, query)


def test_a_query_that_is_not_utf8_is_refused() -> None:
    _, (request,) = parse(b"GET /?a=%FF HTTP/1.1\r\n\r\n")
    with pytest.raises(FormatError):
        request.query  # noqa: B018


@pytest.mark.parametrize(
    ("first_line", "field", "keeps"),
    [
        (b"GET / HTTP/1.1", b"", True),
        (b"GET / HTTP/1.1", b"Connection: close\r\n", False),
        (b"GET / HTTP/1.0", b"", False),
        (b"GET / HTTP/1.0", b"Connection: keep-alive\r\n", True),
    ],
)
def test_how_long_the_connection_lives(first_line: bytes, field: bytes, keeps: bool) -> None:
    parser, requests = parse(first_line + b"\r\n" + field + b"\r\n", GET)
    assert requests[0].keep_alive is keeps
    assert len(requests) == (2 if keeps else 1)
    assert parser.is_over is not keeps
    assert parser.is_whole


def test_a_trailer_is_no_header() -> None:
    sent = POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nContent-Encoding: gzip\r\n\r\n"
    _, requests = parse(sent + GET)
    assert [request.body for request in requests] == [b"a", b""]
    assert b"content-encoding" not in dict(requests[0].headers)


def test_leave_to_send_is_wanted_until_the_body_comes() -> None:
    parser = RequestParser(LIMITS, lambda request: request.method != "DELETE")
    head = POST + b"Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n"
    wanted = [(parser.feed(part), parser.wants_leave) for part in (head, b"a")]
    assert wanted == [([], True), ([], False)]
    (request,) = parser.feed(b"b")
    assert request.body == b"ab"


# --- what is refused, as a request -----------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        POST + b"Content-Length: 1001\r\n\r\n",
        POST + b"Content-Length: 99999999999999\r\n\r\n",
        chunked(b"a" * 600, b"b" * 401),
        POST + b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n" + b"a" * 1001,
    ],
)
def test_a_body_over_the_limit_is_refused_before_all_of_it_is_kept(sent: bytes) -> None:
    assert isinstance(refusal_of(sent), LimitExceeded)


def test_the_largest_body_is_taken() -> None:
    _, (request,) = parse(fixed(b"a" * 1000))
    assert request.body == b"a" * 1000


def test_a_compressed_body_is_refused() -> None:
    sent = POST + b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\n"
    assert isinstance(refusal_of(sent), FormatError)


def test_a_body_that_is_not_wanted_is_not_read() -> None:
    parser, requests = parse(
        b"DELETE / HTTP/1.1\r\n\r\n", POST.replace(b"POST", b"DELETE") + b"Content-Length: 9\r\n\r\n"
    )
    assert requests[0].body == b""
    assert isinstance(requests[1].refusal, FormatError)
    assert parser.is_over


def test_a_body_that_breaks_off_is_refused_with_its_request() -> None:
    assert isinstance(refusal_of(POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), FormatError)


def test_a_chunk_frame_without_end_is_refused() -> None:
    parser = RequestParser(LIMITS, lambda request: request.method != "DELETE")
    parts = [POST + b"Transfer-Encoding: chunked\r\n\r\n1"] + [b";x" * 50] * 4
    (request,) = [request for part in parts if not parser.is_over for request in parser.feed(part)]
    assert isinstance(request.refusal, FormatError)


def test_a_body_that_is_given_up_on() -> None:
    parser = RequestParser(LIMITS, lambda request: request.method != "DELETE")
    parser.feed(POST + b"Content-Length: 5\r\n\r\na")
    (request,) = parser.refuse_body(LimitExceeded("too slow"))
    assert isinstance(request.refusal, LimitExceeded)
    assert parser.is_over
    assert parser.refuse_body(LimitExceeded("too slow")) == []


# --- what is no request ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT host:1 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
        b"GET / HTTP/1.1\r\n A: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n",
        b"GET / HTTP/1.1\nHost: h\n\n",
        POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
        POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\na",
        POST + b"Content-Length: 1, 1\r\n\r\na",
        POST + b"Content-Length: +1\r\n\r\na",
        POST + b"Content-Length: 99999999999999999999999999\r\n\r\na",
        POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_not_http_or_ambiguous(sent: bytes) -> None:
    assert broken_by(sent).status == 400


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"a" * 200,
        b"GET / HTTP/1.1\r\nA: " + b"b" * 201 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (HEADERS_MAX + 1) + b"\r\n",
    ],
)
def test_a_head_over_a_limit(sent: bytes) -> None:
    assert broken_by(sent).status == 431


@pytest.mark.parametrize("begin", [b"GET / HTTP/1.1\r\nA: ", b"GET / HTTP/1.1\r\nA", b"GET /"])
def test_a_line_without_end_is_not_gathered(begin: bytes) -> None:
    parser = RequestParser(LIMITS, lambda request: request.method != "DELETE")
    parser.feed(begin)
    fed = 0
    while not parser.is_over:
        parser.feed(b"a")
        fed += 1
        assert fed <= LIMITS.header_bytes + len(begin)
    assert parser.broken is not None
    assert parser.broken.status == 431


def test_what_is_broken_comes_after_the_requests_before_it() -> None:
    parser, requests = parse(GET + GET + b"garbage\r\n\r\n" + GET)
    assert len(requests) == 2
    assert parser.broken is not None


@given(st.lists(near(st.sampled_from([fixed(b"abc"), chunked(b"a", b"bc"), GET])), max_size=6))
def test_any_stream_is_read_within_limits(parts: list[bytes]) -> None:
    parser, requests = parse(*parts)
    for request in requests:
        assert request.body_bytes <= LIMITS.body_bytes + max(map(len, parts))
        assert len(request.headers) <= HEADERS_MAX
        assert request.path is not None
    if parser.broken is not None:
        assert parser.is_over


# --- answers ---------------------------------------------------------------------------------


def test_an_answer_frames_its_body() -> None:
    response = Response(404, b"{}", "application/json", [("Allow", "GET")])
    head, _, body = response.encode(connection="close").partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 404 Not Found"
    for line in (b"Content-Length: 2", b"Cache-Control: no-store", b"Allow: GET", b"Connection: close"):
        assert line in lines
    assert body == b"{}"
    assert response.encode(with_body=False).endswith(b"\r\n\r\n")
