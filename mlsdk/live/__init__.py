"""Live events: what the service tells about sessions while they go on, over a websocket."""
