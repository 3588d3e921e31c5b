"""Starts the local Mindlytics by another interpreter: this one has the public SDK, whose package is named like ours."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

API_KEY: Final = "upstream_key"
PROJECT: Final = "upstream_project"


@dataclass(frozen=True, slots=True)
class Service:
    """A running local Mindlytics, asked by its JSON view."""

    url: str
    ws_url: str

    @property
    def client_arguments(self) -> dict[str, str]:
        return {
            "api_key": API_KEY,
            "project_id": PROJECT,
            "server_endpoint": self.url,
            "wss_endpoint": self.ws_url,
        }

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return json.load(answer)

    def session(self, session_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/local/sessions/{urllib.parse.quote(session_id, safe='')}")
        return found

    def post(self, path: str, body: object) -> Any:
        request = urllib.request.Request(
            self.url + path,
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {API_KEY}", "X-App-ID": PROJECT},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    process = subprocess.Popen(
        [os.environ["LOCAL_MINDLYTICS_PYTHON"], "-m", "mlsdk.local", "--port", "0"],
        cwd=tmp_path,  # not the tree, from where the service could be imported instead of its installation
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            ready = re.search(r"(http://\S+) \(websocket (ws://[^)]+)\)", process.stdout.readline())
            assert ready is not None, "the local Mindlytics did not start"
            yield Service(ready[1], ready[2])
        finally:
            process.terminate()
            status = process.wait(timeout=60)
    assert status == 0
