"""`bench perf ...`: each measurement beside its rival and its limit, in one run."""
