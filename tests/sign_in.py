"""The local sign-in on a port of its own, over any database of the tests."""

import socket
import threading
import time
import uuid
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psycopg
import uvicorn
from starlette.applications import Starlette

from local.auth import LocalAuth
from local.cluster import Cluster
from local.keys import Keys
from local.users import create_user

PASSWORD = "correct horse"


class Server:
    """The sign-in on a port of its own, with its keys and its database."""

    def __init__(self, cluster: Cluster, database: str, keys: Keys) -> None:
        self.cluster, self.database, self.keys = cluster, database, keys
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.issuer = f"{self.url}/auth/v1"
        auth = LocalAuth(cluster.dsn("supabase_auth_admin", database), keys, self.issuer, cluster)

        @asynccontextmanager
        async def lifespan(_: Starlette) -> Any:
            await auth.open()
            yield
            await auth.close()

        app = Starlette(routes=auth.routes(), lifespan=lifespan)
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._http = httpx.Client(timeout=15)

    def __enter__(self) -> "Server":
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        self._server.should_exit = True
        self._thread.join()

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"apikey": self.keys.publishable_key, **options.pop("headers", {})}
        return self._http.request(method, f"{self.issuer}{path}", headers=headers, **options)

    def sign_in(self, email: str, password: str = PASSWORD) -> httpx.Response:
        credentials = {"email": email, "password": password}
        return self.ask("POST", "/token?grant_type=password", json=credentials)

    def refresh(self, token: str) -> httpx.Response:
        return self.ask("POST", "/token?grant_type=refresh_token", json={"refresh_token": token})

    def run(self, statement: str, *parameters: Any) -> None:
        with self.connect() as connection:
            connection.execute(statement.encode(), parameters or None)

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.cluster.dsn("supabase_auth_admin", self.database))

    def add(self, password: str | None = PASSWORD, **app_metadata: Any) -> str:
        """Somebody new, by address."""
        email = f"{uuid.uuid4().hex}@example.test"
        with self.connect() as connection:
            create_user(connection, email, password, app_metadata, {"name": "Somebody"}, cost=4)
        return email
