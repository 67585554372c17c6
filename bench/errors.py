"""What stops the benchmark and whoever runs it can mend: one sentence, not a traceback."""


class BenchError(Exception):
    """Says what is wrong and what to do."""
