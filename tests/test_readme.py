"""The README's lines, copied and pasted against a server that was started as it says."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from tests.servers import ROOT, Server, free_port, own_data_dir, serving

pytestmark = pytest.mark.any_postgres

README = (ROOT / "README.md").read_text()
SIGN_INS = ("learner@demo.test", "admin@demo.test", "other-admin@demo.test", "super@demo.test")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with own_data_dir() as data_dir, serving(data_dir) as server:
        yield server


def block(language: str, containing: str) -> str:
    """The one code block of the README in a language that contains something."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (found,) = [text for text in blocks if containing in text]
    assert isinstance(found, str)
    return found


def for_this_server(text: str, server: Server) -> str:
    return (
        text.replace("http://127.0.0.1:8000", server.url)
        .replace(".data/", f"{server.data_dir}/")
        .replace(".venv/bin/python", sys.executable)
    )


def output_of(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def sign_in(server: Server, email: str) -> str:
    key = json.loads((server.data_dir / "keys.json").read_text())["publishable_key"]
    answer = httpx.post(
        f"{server.url}/auth/v1/token?grant_type=password",
        headers={"apikey": key},
        json={"email": email, "password": "demo-password"},
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def ask(server: Server, token: str, query: str) -> Any:
    answer = httpx.post(
        f"{server.url}/graphql", headers={"Authorization": f"Bearer {token}"}, json={"query": query}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def test_the_lines_with_curl_sign_in_ask_and_change(server: Server) -> None:
    script = for_this_server(block("sh", "# Who am I?"), server)

    printed = output_of("bash", "-euo", "pipefail", "-c", script)

    answers = [json.loads(line)["data"] for line in printed.splitlines()]
    viewer, programs, created = answers
    assert viewer["viewer"]["role"] == "COMMUNITY_ADMIN"
    assert programs["programs"]["totalCount"] >= 3
    assert created["createProgram"]["program"]["status"] == "DRAFT"


def test_the_lines_with_curl_send_a_statement_and_read_it(server: Server) -> None:
    before = block("sh", "# Who am I?").split("# Who am I?")[0]
    script = for_this_server(before + block("sh", "/xapi/statements"), server)

    ids, page = (
        json.loads(line) for line in output_of("bash", "-euo", "pipefail", "-c", script).splitlines()
    )

    assert [said["id"] for said in page["statements"]] == ids
    assert page["statements"][0]["verb"] == {"id": "http://adlnet.gov/expapi/verbs/completed"}


def test_the_lines_that_watch_show_a_value_arriving(server: Server) -> None:
    before = block("sh", "# Who am I?").split("# Sign in")[0]
    script = for_this_server(before + block("sh", "text/event-stream"), server)

    printed = output_of("bash", "-euo", "pipefail", "-c", script)

    told = [json.loads(text)["data"] for text in re.findall(r"^data: (.+)$", printed, re.MULTILINE)]
    first, second = (value["progress"] for value in told)
    assert second["percent"] > first["percent"]
    assert '"status":"ACCEPTED"' in printed


def test_the_lines_with_supabases_client_work_unchanged(server: Server) -> None:
    script = for_this_server(block("python", "displayName enrollments"), server)

    printed = output_of(sys.executable, "-c", script)

    assert "'displayName': 'Lena Learner'" in printed
    assert "'status': 'ACTIVE'" in printed


def test_the_lines_that_switch_to_another_community_do(server: Server) -> None:
    script = for_this_server(block("python", "switchCommunity"), server)

    printed = output_of(sys.executable, "-c", script.replace("oulad-fff", "oulad-ddd"))

    assert printed.startswith(
        "{'viewer': {'community': {'slug': 'oulad-ddd'}}, 'programs': {'totalCount': 1}"
    )


@pytest.mark.parametrize("email", SIGN_INS)
def test_every_demo_sign_in_is_who_the_readme_says(server: Server, email: str) -> None:
    assert f"`{email}`" in README

    viewer = ask(server, sign_in(server, email), "{ viewer { email role isSuperAdmin community { name } } }")

    assert viewer["viewer"]["email"] == email
    assert viewer["viewer"]["isSuperAdmin"] == email.startswith("super")
    assert viewer["viewer"]["community"] is not None


def test_the_two_admins_share_nothing(server: Server) -> None:
    query = "{ viewer { community { id } } programs(first: 100) { nodes { id } } members { totalCount } }"

    here, there = (
        ask(server, sign_in(server, f"{name}@demo.test"), query) for name in ("admin", "other-admin")
    )

    assert here["viewer"]["community"] != there["viewer"]["community"]
    ids = [{node["id"] for node in seen["programs"]["nodes"]} for seen in (here, there)]
    assert all(ids)
    assert not ids[0] & ids[1]


def test_a_browser_gets_graphiql(server: Server) -> None:
    page = httpx.get(f"{server.url}/graphql", headers={"Accept": "text/html,*/*;q=0.8"})

    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "graphiql" in page.text


def test_ctrl_c_stops_server_and_database_and_the_data_stay() -> None:
    port = free_port()
    with own_data_dir() as data_dir:
        with serving(data_dir, port) as first:
            token = sign_in(first, "admin@demo.test")
            created = ask(
                first, token, 'mutation { createProgram(input: {title: "Kept"}) { program { id } } }'
            )
            printed = first.stop(signal.SIGINT)
        with serving(data_dir, port) as second:
            # The token of before the stop still holds: the key is kept too.
            program_id = created["createProgram"]["program"]["id"]
            found = ask(second, token, f'{{ program(id: "{program_id}") {{ title }} }}')
            second.stop(signal.SIGTERM)

    assert first.process.returncode == 0
    assert "Traceback" not in printed
    assert "Applying migration" in printed
    assert found == {"program": {"title": "Kept"}}


def test_the_database_stops_with_the_server() -> None:
    with own_data_dir() as data_dir, serving(data_dir) as server:
        printed = server.stop(signal.SIGINT)
        (dsn,) = re.findall(r"postgresql://postgres:\S+", printed)
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(dsn)
