"""The Mindlytics service on this machine: ``python -m mlsdk.local``, or `LocalMindlytics` in a test."""

from mlsdk.local.faults import Fault, FaultRule, InvalidFaultError, parse_fault
from mlsdk.local.service import LocalMindlytics
from mlsdk.local.state import RecordedRequest, RequestInfo
from mlsdk.local.views import ConversationView, SessionView, TurnView

__all__ = [
    "ConversationView",
    "Fault",
    "FaultRule",
    "InvalidFaultError",
    "LocalMindlytics",
    "RecordedRequest",
    "RequestInfo",
    "SessionView",
    "TurnView",
    "parse_fault",
]
