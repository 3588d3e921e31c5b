"""Sessions of `mlsdk` as spans: wrappers around the SDK's own methods, put on and taken off together."""
