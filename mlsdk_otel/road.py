"""What exporters and processor have in common: a bridge if the settings allow one, and ways to wait for it."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Final, TypedDict

from mlsdk.delivery.host import host
from mlsdk.errors import ConfigurationError
from mlsdk.waiting import running_loop
from mlsdk_otel import config
from mlsdk_otel.bridge import Bridge, bridge_for

if TYPE_CHECKING:
    from mlsdk.delivery.masking import BeforeSend

logger = logging.getLogger(__name__)

EXPORT_TIMEOUT: Final = 10.0
"""Seconds that an export waits for delivery, at most."""
_GLANCE: Final = 0.05
"""Seconds between two looks at whether waiting still makes sense."""


class RoadOptions(TypedDict, total=False):
    """The settings that exporters and processor take; what is not given comes from the environment."""

    api_key: str | None
    """`MLSDK_API_KEY`."""
    project_id: str | None
    """`MLSDK_PROJECT_ID`."""
    server_endpoint: str | None
    """`MLSDK_SERVER_BASE`; default the production service."""
    proxy: str | None
    """`MLSDK_PROXY`."""
    ca_file: str | None
    """`MLSDK_CA_FILE`."""
    before_send: BeforeSend | None
    """As in `mlsdk.Client`; `MLSDK_BEFORE_SEND=package.module:function`."""
    capture_content: bool | None
    """False drops texts and keeps usage; `MLSDK_CAPTURE_CONTENT`."""


class Road:
    """Spans go in at the bridge; whoever flushes waits here until their events are delivered."""

    def __init__(self, what: str, settings: RoadOptions, *, timeout: float = EXPORT_TIMEOUT) -> None:
        """Opens the bridge. Never raises: settings that do not do are one line in the log.

        Args:
            what: What to call the thing in the log.
            settings: What to open it with.
            timeout: Seconds that `wait` takes, at most.
        """
        self.bridge: Bridge | None = None
        self.is_disabled = False
        self._timeout = timeout
        try:
            resolved = config.resolve(**settings)
            self.is_disabled = not resolved.config.enabled
            if resolved.config.enabled:
                self.bridge = bridge_for(resolved)
        except ConfigurationError as problem:
            logger.error("%s sends nothing: %s", what, problem.message)

    def wait(self, offered: Future[list[str]]) -> bool:
        """Waits until the events of what was offered are settled, unless that could block an event loop.

        Returns:
            Whether they are. False when the time is over, while the service cannot be reached, and inside a running
            loop unless they are settled already; in all these cases delivery goes on.
        """
        if self.bridge is None:
            return True
        end = time.monotonic() + self._budget(self._timeout)
        try:
            sessions = offered.result(timeout=max(0.0, end - time.monotonic()))
        except FutureTimeoutError:
            return False
        return self._settle(self.bridge, self.bridge.delivery.settled(sessions), end)

    def flush(self, seconds: float) -> bool:
        """Sends what waits for spans that have not come, and waits until everything is settled; as `wait`."""
        if self.bridge is None:
            return True
        end = time.monotonic() + self._budget(seconds)
        self.bridge.release()
        return self._settle(self.bridge, self.bridge.delivery.settled(), end)

    def _budget(self, seconds: float) -> float:
        if running_loop() is not None or host.is_own_thread():
            return 0.0
        if self.bridge is not None and not threading.main_thread().is_alive():  # the interpreter is exiting
            return min(seconds, self.bridge.settings.config.limits.exit_timeout)
        return seconds

    def _settle(self, bridge: Bridge, settled: Future[bool], end: float) -> bool:
        while True:
            left = end - time.monotonic()
            try:
                return settled.result(timeout=max(0.0, min(_GLANCE, left)))
            except FutureTimeoutError:
                if left <= 0 or bridge.delivery.is_in_trouble:
                    return False
