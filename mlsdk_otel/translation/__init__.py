"""From finished spans to wire events. The whole folder is pure: no I/O, clock, randomness, threads or logging."""
