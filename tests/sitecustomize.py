"""Loaded at the start of every program that a test starts by `support.child`, which sets `TESTED_SILENCE`.

A program that ends gives a service up that has been silent for two seconds. The service of a test is in the test's own
process, which a busy machine may let stand still for longer: so it is given more, unless silence is what is tested.
"""

import os
import sys


class _Patient:
    """Finds `mlsdk.delivery.host`, once, and sets how long it waits."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def find_spec(self, name, path=None, target=None):
        if name != "mlsdk.delivery.host":
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                self._change(spec.loader)
                return spec
        return None

    def _change(self, loader) -> None:
        execute = loader.exec_module

        def execute_and_set(module) -> None:
            execute(module)
            module.SILENCE = self._seconds

        loader.exec_module = execute_and_set


if "TESTED_SILENCE" in os.environ:
    sys.meta_path.insert(0, _Patient(float(os.environ["TESTED_SILENCE"])))
