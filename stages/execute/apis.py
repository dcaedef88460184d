"""The APIs that are asked, each with its own origin, connections and token.

A token is for one API, and goes to that one's origin only.
"""

from __future__ import annotations

import socket
import time

from pipeline.config import Config
from pipeline.errors import Unreachable
from pipeline.https import first_hop
from pipeline.identity import endpoint
from pipeline.messages import NoToken, Token
from pipeline.transfers import Transfers
from stages.execute.client import ArmClient
from stages.execute.origin import Origin
from stages.execute.run import RequestRun

# A token with less life left than this is not sent any more.
TOKEN_MARGIN_S = 5.0


class Api:
    """One of them, and who waits for its token.

    Args:
        audience: of :data:`pipeline.messages.AUDIENCES`.
        config: endpoints, time-outs and sizes.
        transfers: of this process.

    Attributes:
        origin: where it is, and where its links may lead.
        client: the connections.
        token: the newest, or None.
        waiting: requests that cannot go on without a newer one.
    """

    def __init__(self, audience: str, config: Config, transfers: Transfers) -> None:
        self.audience = audience
        self._connect_timeout_s = config.arm_connect_timeout
        self.origin = Origin.parse(endpoint(config, audience))
        self.client = ArmClient(
            self.origin,
            transfers,
            connect_timeout_s=config.arm_connect_timeout,
            read_timeout_s=config.arm_read_timeout,
            answer_timeout_s=config.request_timeout,
            max_body_bytes=config.max_response_bytes,
        )
        self.token: Token | None = None
        self.waiting: list[RequestRun] = []

    def reach(self) -> None:
        """See that something listens there.

        Raises:
            Unreachable: nothing does.
        """
        origin = self.origin
        try:
            address = first_hop(origin.scheme, origin.host, origin.port)
            socket.create_connection(address, self._connect_timeout_s).close()
        except OSError as error:
            raise Unreachable(
                "ARM",
                f"{origin} cannot be reached: {error}",
                "check AZURE_ARM_ENDPOINT, AZURE_CLOUD, name resolution, proxy and firewall",
            ) from error

    @property
    def serial(self) -> int:
        """Of the newest token; 0 if there is none."""
        return self.token.serial if self.token is not None else 0

    def usable_token(self) -> Token | None:
        """The newest token, if it lasts long enough for a call."""
        token = self.token
        if token is None or token.expires_at_s - time.time() < TOKEN_MARGIN_S:
            return None
        return token

    def wait(self, run: RequestRun) -> bool:
        """A request waits for a newer token; whether it is the first, so that one is asked for."""
        self.waiting.append(run)
        return len(self.waiting) == 1

    def news(self, news: Token | NoToken) -> list[RequestRun]:
        """A token came, or word that there is none; those that waited for it."""
        if isinstance(news, Token):
            self.token = news
        waiting, self.waiting = self.waiting, []
        return waiting
