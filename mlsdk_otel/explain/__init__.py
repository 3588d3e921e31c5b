"""What would be made of recorded spans, and why: ``python -m mlsdk_otel explain FILE...``."""
