from __future__ import annotations

from mlsdk_otel.translation.facts import Loss


def test_losses_add_up() -> None:
    loss = Loss(events=1, values=2)
    loss.add(Loss(events=10, values=20, dropped_events=30, dropped_attributes=40))
    assert loss == Loss(events=11, values=22, dropped_events=30, dropped_attributes=40)
