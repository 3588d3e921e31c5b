"""The OpenTelemetry road: finished spans in, Mindlytics events out.

It builds on ``mlsdk`` (events, delivery, configuration) and never the other way round.
Nothing here may import at package level more than a user of one name needs: names are loaded lazily.
"""

__all__: list[str] = []
