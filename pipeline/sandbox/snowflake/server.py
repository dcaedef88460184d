"""The HTTP endpoints: fakesnow's, with logins that can be refused and errors of Snowflake's."""

from __future__ import annotations

import gzip
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import fakesnow.server as fake
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipeline.sandbox.snowflake import access, errors, timestamps
from pipeline.sandbox.snowflake.cursor import Database, Session

_LOGIN = "/session/v1/login-request"
_QUERY = "/queries/v1/query-request"
_SESSION = "/session"
_INTERNAL_ERROR = 500
# Snowflake ends a session after four hours without a statement.
SESSION_IDLE_LIMIT_S = 4 * 3600.0

Endpoint = Callable[[Request], Awaitable[Response]]


def application(database: Database, who: access.Access) -> Starlette:
    """The server for this database."""
    fake.shared_fs = database
    timestamps.install()
    fake.logger.setLevel(logging.CRITICAL)  # it would log each failed statement
    ours: dict[str, Endpoint] = {_LOGIN: _login(who), _QUERY: _query, _SESSION: _session}
    routes = [
        Route(route.path, ours.get(route.path, route.endpoint), methods=list(route.methods or ()))
        for route in fake.routes
    ]
    return Starlette(routes=routes)


def _login(who: access.Access) -> Endpoint:
    async def login(request: Request) -> Response:
        data = await _json(request)
        query = request.query_params
        try:
            role = who.login(data["data"], query.get("roleName"))
        except access.Refused as refused:
            if not refused.code:  # Snowflake's front end knows no such host
                return Response(status_code=404)
            return _failure(refused.code, refused.message)
        _end_forgotten_sessions()
        response = await fake.login_request(request)
        answer = json.loads(bytes(response.body))
        session = fake.sessions[answer["data"]["token"]]
        assert isinstance(session, Session)
        session.role = role
        session.warehouse = access.warehouse(query.get("warehouse"))
        answer["data"]["sessionId"] = session.session_id
        # Without one the connector takes the session for closed and never ends it here.
        answer["data"]["masterToken"] = answer["data"]["token"]
        answer["data"]["sessionInfo"] = {
            "databaseName": session.context("database"),
            "schemaName": session.context("schema"),
            "warehouseName": session.warehouse,
            "roleName": role,
        }
        return JSONResponse(answer)

    return login


def _end_forgotten_sessions() -> None:
    # A client that was killed never logs out, and its temporary tables would stay for ever.
    now_s = time.monotonic()
    for token, session in list(fake.sessions.items()):
        if session.writer.idle_s(now_s) > SESSION_IDLE_LIMIT_S:
            del fake.sessions[token]
            session.close()


async def _query(request: Request) -> Response:
    response: Response = await fake.query_request(request)
    if response.status_code != _INTERNAL_ERROR:
        return response
    # The connector would repeat the statement for minutes: it takes a 500 for a passing fault.
    error = errors.as_snowflake(RuntimeError(json.loads(bytes(response.body))["message"]))
    return _failure(f"{error.errno:06d}", str(error.msg), str(error.sqlstate))


async def _session(request: Request) -> Response:
    # fakesnow forgets a closed session and leaves its transaction to the garbage collector.
    closing = request.query_params.get("delete") and fake.sessions.get(fake.to_token(request))
    response: Response = await fake.session(request)
    if closing:
        closing.close()
    return response


def _failure(code: str, message: str, sqlstate: str = "08001") -> Response:
    data = {"errorCode": code, "sqlState": sqlstate}
    return JSONResponse({"data": data, "code": code, "message": message, "success": False})


async def _json(request: Request) -> Any:
    body = await request.body()
    if request.headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    return json.loads(body)
