"""What nobody polite sends: slow, endless, oversized and contradictory requests, on raw sockets to a real server."""

import json
import logging
import re
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from resolvers.engine import Answer, Phase
from resolvers.identity import ANONYMOUS
from resolvers.protocol import GuardedHttpProtocol
from tests.serving import DATA, MAX_BODY_BYTES, NotingEngine, QuickProtocol, endpoint, serving
from tests.signing import token

pytestmark = pytest.mark.any_postgres

BODY = b'{"query": "{ ok }"}'
HEAD = b"POST /graphql HTTP/1.1\r\nHost: server\r\nContent-Type: application/json\r\n"
REQUEST = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /graphql?query={ok} HTTP/1.1\r\nHost: server\r\n"
# Far longer than anything here takes: it ends a test that hangs.
PATIENCE = 10


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[int, NotingEngine]]:
    """Its times are short."""
    engine = NotingEngine()
    with serving(endpoint(engine, body_timeout_seconds=0.5), QuickProtocol) as port:
        yield port, engine


@pytest.fixture
def engine(server: tuple[int, NotingEngine]) -> NotingEngine:
    server[1].reset()
    return server[1]


@pytest.fixture
def port(
    server: tuple[int, NotingEngine], engine: NotingEngine, caplog: pytest.LogCaptureFixture
) -> Iterator[int]:
    """The server must not have failed, and must still answer, when the test is over."""
    yield server[0]
    engine.seconds = 0
    assert exchange(server[0], REQUEST).endswith(DATA)
    records = [*caplog.get_records("call"), *caplog.get_records("teardown")]
    faults = [record.getMessage() for record in records if record.levelno >= logging.ERROR]
    assert faults == []


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        yield connection


def received(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    chunks = []
    while chunk := connection.recv(65_536):
        chunks.append(chunk)
    return b"".join(chunks)


def exchange(port: int, sent: bytes) -> bytes:
    """Sends a request with `Connection: close`, and reads until the server closes."""
    with connected(port) as connection:
        connection.sendall(sent.replace(b"Host: server\r\n", b"Host: server\r\nConnection: close\r\n"))
        return received(connection)


def one_answer(connection: socket.socket) -> bytes:
    """A whole answer on a connection that stays open."""
    answer = b""
    while not (whole := re.search(rb"content-length: (\d+)\r\n.*?\r\n\r\n", answer, re.DOTALL)) or (
        len(answer) < whole.end() + int(whole[1])
    ):
        chunk = connection.recv(65_536)
        assert chunk, "closed"
        answer += chunk
    return answer


def trickle(connection: socket.socket, piece: bytes) -> bytes:
    """Sends a piece again and again until the server closes; whatever it has said by then."""
    said = b""
    while True:
        if select.select([connection], [], [], 0.05)[0]:
            try:
                chunk = connection.recv(65_536)
            except ConnectionResetError:
                return said
            if not chunk:
                return said
            said += chunk
        else:
            connection.sendall(piece)


def status_of(answer: bytes) -> int:
    match = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    assert match, answer
    return int(match[1])


def count(answers: bytes) -> int:
    return len(re.findall(rb"HTTP/1\.1 \d{3} ", answers))


def code_of(answer: bytes) -> str:
    """The code of the one error in a single answer that is whole and closes the connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-length: %d\r\n" % len(body) in head + b"\r\n"
    assert b"\r\nconnection: close" in head
    assert b"\r\nx-request-id: " in head
    (error,) = json.loads(body)["errors"]
    return str(error["extensions"]["code"])


# Slow


def test_a_connection_that_sends_nothing_is_closed(port: int) -> None:
    with connected(port) as connection:
        assert received(connection) == b""


def test_a_head_that_stops_is_answered_and_closed(port: int, engine: NotingEngine) -> None:
    with connected(port) as connection:
        connection.sendall(HEAD)
        answer = received(connection)

    assert (status_of(answer), code_of(answer)) == (408, "TIMEOUT")
    assert engine.asked == []


@pytest.mark.parametrize("piece", [b"X-A: b\r\n", b"x"])
def test_a_head_that_trickles_is_answered_and_closed(port: int, piece: bytes) -> None:
    with connected(port) as connection:
        connection.sendall(HEAD)

        assert status_of(trickle(connection, piece)) == 408


def test_line_ends_do_not_keep_a_connection_open(port: int) -> None:
    with connected(port) as connection:
        assert trickle(connection, b"\r\n") == b""

    with connected(port) as connection:
        connection.sendall(REQUEST)

        answer = trickle(connection, b"\r\n")
        assert count(answer) == 1
        assert answer.endswith(DATA)


def test_the_second_head_on_a_connection_has_its_own_time(port: int) -> None:
    with connected(port) as connection:
        for _ in range(4):
            time.sleep(QuickProtocol.head_seconds * 0.4)
            connection.sendall(REQUEST[:30])
            time.sleep(QuickProtocol.head_seconds * 0.4)
            connection.sendall(REQUEST[30:])
            assert status_of(one_answer(connection)) == 200

        connection.sendall(HEAD)
        assert status_of(received(connection)) == 408


def test_each_head_of_a_pipeline_has_its_own_time(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(REQUEST[:30])
        for _ in range(4):
            time.sleep(QuickProtocol.head_seconds * 0.4)
            connection.sendall(REQUEST[30:] + REQUEST[:30])
        answers = received(connection)

    assert answers.count(DATA) == 4
    assert answers.count(b"HTTP/1.1 408") == 1


@pytest.mark.parametrize("head", [HEAD + b"Content-Length: 1000\r\n\r\n", CHUNKED + b"3e8\r\n"])
def test_a_body_that_stops_or_trickles_is_answered_and_closed(
    port: int, engine: NotingEngine, head: bytes
) -> None:
    with connected(port) as stopping, connected(port) as trickling:
        stopping.sendall(head + b"{")
        trickling.sendall(head)
        answers = [trickle(trickling, b" "), received(stopping)]

    assert [(status_of(answer), code_of(answer)) for answer in answers] == [(408, "TIMEOUT")] * 2
    assert engine.asked == []


@pytest.mark.parametrize("head", [GET, HEAD.replace(b"application/json", b"text/plain")])
def test_a_body_that_nobody_reads_cannot_trickle_for_ever(port: int, head: bytes) -> None:
    with connected(port) as connection:
        connection.sendall(head + b"Content-Length: 100000\r\n\r\n")

        assert status_of(trickle(connection, b" ")) in (200, 415)


# Large


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (GET + b"".join(b"X-%d: y\r\n" % n for n in range(99)), 200),
        (GET + b"".join(b"X-%d: y\r\n" % n for n in range(100)), 431),
        (GET + b"".join(b"X-%d: y\r\n" % n for n in range(2_000)), 431),
        (GET + b"Authorization: Bearer " + b"x" * 12_000 + b"\r\n", 401),
        (GET + b"X-A: " + b"y" * 17_000 + b"\r\n", 431),
        (GET + b"y" * 17_000 + b": y\r\n", 431),
        (GET + b"".join(b"X-%d: %b\r\n" % (n, b"y" * 1_000) for n in range(17)), 431),
        (GET.replace(b"{ok}", b"{ok}" + b"%20" * 2_700), 200),
        (GET.replace(b"{ok}", b"{ok}" + b"%20" * 2_800), 414),
        (GET.replace(b"{ok}", b"{ok}" + b"%20" * 100_000), 414),
    ],
)
def test_a_head_has_a_largest_size(port: int, engine: NotingEngine, head: bytes, status: int) -> None:
    with connected(port) as connection:
        connection.sendall(head.replace(b"Host: server\r\n", b"Connection: close\r\n") + b"\r\n")
        answer = received(connection)

    assert status_of(answer) == status
    assert len(engine.asked) == (1 if status == 200 else 0)
    if status in (414, 431):
        assert code_of(answer) == "LIMIT_EXCEEDED"


@pytest.mark.parametrize(
    ("start", "piece", "status"),
    [
        (b"GET /", b"a" * 1_000, 414),
        (GET, b"a" * 1_000, 431),
        (GET + b"X-A: ", b"a" * 1_000, 431),
        (GET, b"X-A: b\r\n" * 100, 431),
        (CHUNKED + b"0\r\nX-A: ", b"a" * 1_000, 431),
        (CHUNKED + b"0\r\n", b"X-A: b\r\n" * 100, 431),
        (CHUNKED + b"1;x=", b"a" * 1_000, 431),
    ],
)
def test_what_never_ends_is_cut_off_before_its_time_is_up(
    engine: NotingEngine, start: bytes, piece: bytes, status: int
) -> None:
    with serving(endpoint(engine), GuardedHttpProtocol) as port, connected(port) as connection:
        connection.sendall(start)
        began = time.monotonic()
        answer = b""
        for _ in range(100):
            connection.sendall(piece)
            if select.select([connection], [], [], 0.01)[0]:
                answer = connection.recv(65_536)
                break
        took = time.monotonic() - began

    assert status_of(answer) == status
    assert took < GuardedHttpProtocol.head_seconds / 2


def test_a_client_that_sends_too_large_a_body_to_its_end_reads_why_it_was_refused(port: int) -> None:
    size = MAX_BODY_BYTES * 40
    declared = HEAD + b"Content-Length: %d\r\n\r\n" % size + b" " * size
    chunked = CHUNKED + b"10000\r\n%b\r\n" % (b" " * 65_536) * 160 + b"0\r\n\r\n"

    answers = [exchange(port, declared), exchange(port, chunked)]

    assert [(status_of(answer), code_of(answer)) for answer in answers] == [(413, "LIMIT_EXCEEDED")] * 2


def test_a_client_that_asks_before_it_sends_too_large_a_body_need_not_send_it(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(HEAD + b"Content-Length: 10000000\r\nExpect: 100-continue\r\n\r\n")

        assert status_of(one_answer(connection)) == 413


# Contradictory and malformed


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"Content-Length: 19\r\nTransfer-Encoding: chunked\r\n\r\n13\r\n" + BODY + b"\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 19\r\n\r\n" + BODY,
        HEAD + b"Content-Length: 19\r\nContent-Length: 19\r\n\r\n" + BODY,
        HEAD + b"Content-Length: 19\r\nContent-Length: 5\r\n\r\n" + BODY,
        HEAD + b"Content-Length: 19, 19\r\n\r\n" + BODY,
        HEAD + b"Content-Length: +19\r\n\r\n" + BODY,
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n" + BODY,
        HEAD + b"Content-Length : 19\r\n\r\n" + BODY,
        HEAD + b"X-A: b\r\n folded: c\r\n\r\n",
        HEAD + b"X-A: b\0c\r\n\r\n",
        HEAD + b"\xff: b\r\n\r\n",
        CHUNKED + b"zz\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"13\r\n" + BODY + b"no line end",
        CHUNKED + b"f" * 20 + b"\r\n",
        b"GET /graphql?query=\xff HTTP/1.1\r\n\r\n",
        b"GET /graphql?query=a b HTTP/1.1\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"GET /graphql HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0" * 100,
        b"{" * 100_000,
    ],
)
def test_what_is_no_http_is_refused(port: int, engine: NotingEngine, sent: bytes) -> None:
    with connected(port) as connection:
        connection.sendall(sent)
        answer = received(connection)

    assert (status_of(answer), code_of(answer)) == (400, "BAD_USER_INPUT")
    assert engine.asked == []


def test_who_goes_on_after_a_refusal_is_not_refused_twice(port: int) -> None:
    with connected(port) as connection:
        for _ in range(5):
            connection.sendall(b"NONSENSE\r\n\r\n")
            time.sleep(0.02)
        answers = received(connection)

    assert count(answers) == 1


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"POST"])
def test_a_bad_body_is_answered_once_whether_or_not_somebody_reads_it(port: int, method: bytes) -> None:
    with connected(port) as connection:
        connection.sendall(CHUNKED.replace(b"POST", method) + b"zz\r\n")
        answers = received(connection)

    assert (status_of(answers), count(answers)) == (400, 1)


def test_a_body_that_breaks_off_is_not_taken_for_a_whole_one(port: int, engine: NotingEngine) -> None:
    for sent in (CHUNKED + b"13\r\n%b\r\n" % BODY, HEAD + b"Content-Length: 20\r\n\r\n" + BODY):
        with connected(port) as connection:
            connection.sendall(sent)
            time.sleep(0.1)
            connection.shutdown(socket.SHUT_WR)
            assert received(connection) == b""

    assert engine.asked == []


def test_the_trailers_of_a_body_are_not_headers(port: int, engine: NotingEngine) -> None:
    trailer = b"Authorization: Bearer %b\r\n" % token().encode()
    pieces = [CHUNKED + b"13\r\n" + BODY + b"\r\n", b"0\r\n" + trailer + b"\r\n"]
    with connected(port) as connection:
        connection.sendall(b"".join(pieces))
        assert status_of(one_answer(connection)) == 200

    assert engine.caller == ANONYMOUS


@pytest.mark.parametrize("upgrade", [b"h2c", b"nonsense"])
def test_an_upgrade_that_is_not_offered_is_ignored(port: int, upgrade: bytes) -> None:
    head = GET + b"Connection: Upgrade, close\r\nUpgrade: %b\r\nSec-WebSocket-Version: 13\r\n\r\n" % upgrade
    with connected(port) as connection:
        connection.sendall(head)

        assert received(connection).endswith(DATA)


@pytest.mark.parametrize("offer", [b"h2c", b"nonsense"])
@pytest.mark.parametrize("parts", ["at once", "head first", "byte by byte"])
def test_an_offer_of_another_protocol_takes_nothing_from_the_request(
    port: int, engine: NotingEngine, offer: bytes, parts: str
) -> None:
    """Java's client offers HTTP/2 with each first request, one with a body too."""
    lines = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\nHTTP2-Settings: AAEA\r\n" % offer
    inner = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY  # must not be taken for a request
    offering = HEAD + lines + b"Content-Length: %d\r\n\r\n" % len(inner)
    following = GET.replace(b"{ok}", b"{n2}") + b"Connection: close\r\n\r\n"
    with connected(port) as connection:
        everything = offering + inner + following
        cut = {"at once": len(everything), "head first": len(offering), "byte by byte": 1}[parts]
        for piece in (everything[place : place + cut] for place in range(0, len(everything), cut)):
            connection.sendall(piece)
            if parts == "head first":
                time.sleep(0.05)
        answers = received(connection)

    assert answers.count(b"HTTP/1.1 ") == 2
    assert b"is not JSON" in answers, "the body is what it is"
    assert [request.query for request, _ in engine.asked] == ["{n2}"]


# Out of step


def test_pipelined_requests_are_answered_in_their_order(port: int, engine: NotingEngine) -> None:
    engine.seconds = 0.05
    requests = [GET.replace(b"{ok}", b"{n%d}" % n) + b"\r\n" for n in range(5)]
    with connected(port) as connection:
        connection.sendall(
            b"".join(requests[:-1]) + requests[-1].replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        )
        answers = received(connection)

    assert answers.count(DATA) == 5
    assert [request.query for request, _ in engine.asked] == ["{n0}", "{n1}", "{n2}", "{n3}", "{n4}"]


@pytest.mark.parametrize("rubbish", [b"NONSENSE\r\n\r\n", GET + b"X-A: b\r\n" * 200 + b"\r\n", HEAD])
def test_rubbish_after_a_request_does_not_take_its_answer(
    port: int, engine: NotingEngine, rubbish: bytes
) -> None:
    engine.seconds = QuickProtocol.head_seconds * 2
    with connected(port) as connection:
        connection.sendall(REQUEST + rubbish)
        answers = received(connection)

    assert count(answers) == 1
    assert answers.endswith(DATA)


def test_a_slow_reader_gets_its_last_answer_whole(port: int, engine: NotingEngine) -> None:
    engine.answer_ = Answer(Phase.EXECUTED, b'"%b"' % (b"x" * 20_000_000))
    with connected(port) as connection:
        connection.sendall(REQUEST.replace(b"Host:", b"Connection: close\r\nHost:") + HEAD)
        time.sleep(QuickProtocol.head_seconds * 1.5)
        answer = received(connection)
    engine.reset()

    assert count(answer) == 1
    assert answer.endswith(b'x"')
    assert len(answer) > 20_000_000


def test_rubbish_in_the_body_of_a_pipelined_request_closes_the_connection(
    port: int, engine: NotingEngine
) -> None:
    engine.seconds = 0.2
    with connected(port) as connection:
        connection.sendall(REQUEST + CHUNKED + b"zz\r\n")

        assert received(connection) == b""


def test_a_client_that_will_send_no_more_has_left(port: int) -> None:
    for sent in (b"", HEAD, REQUEST[:-1], REQUEST, CHUNKED):
        with connected(port) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)

            assert received(connection).endswith((b"", DATA))


def test_a_client_that_breaks_off_does_no_harm(port: int) -> None:
    for sent in (b"", HEAD, REQUEST[:-1], REQUEST, CHUNKED + b"5\r\nab"):
        with connected(port) as connection:
            connection.sendall(sent)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("sent", [REQUEST, GET + b"\r\n", REQUEST * 3, REQUEST + HEAD])
def test_work_for_a_client_that_has_left_is_cancelled(port: int, engine: NotingEngine, sent: bytes) -> None:
    engine.seconds = 600
    for _ in range(3):
        with connected(port) as connection:
            connection.sendall(sent)
            wait_until(lambda: engine.running == 1)
        wait_until(lambda: engine.running == 0)

    assert engine.cancelled == 3


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Many at once


def test_many_slow_clients_do_not_keep_a_good_one_waiting(engine: NotingEngine) -> None:
    with serving(endpoint(engine), GuardedHttpProtocol) as port:
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
        try:
            for number, connection in enumerate(slow):
                connection.sendall((HEAD, b"", CHUNKED + b"1\r\n", REQUEST[:-1])[number % 4])
            began = time.monotonic()
            answer = exchange(port, REQUEST)
            took = time.monotonic() - began
        finally:
            for connection in slow:
                connection.close()

    assert answer.endswith(DATA)
    assert took < GuardedHttpProtocol.head_seconds / 2


def test_many_clients_at_once_get_their_own_answers(port: int) -> None:
    def several(_: int) -> list[int]:
        with connected(port) as connection:
            statuses = []
            for request in [REQUEST, CHUNKED + b"1\r\nx\r\n0\r\n\r\n", GET + b"\r\n"] * 10:
                connection.sendall(request)
                statuses.append(status_of(one_answer(connection)))
            return statuses

    with ThreadPoolExecutor(20) as threads:
        for statuses in threads.map(several, range(20)):
            assert statuses == [200, 400, 200] * 10
