"""Looks at OpenTelemetry's part of a set-up: ``python -m mlsdk_otel doctor``."""
