"""What the long commands of `bench` will take, measured on samples before they start."""

from bench.estimate.sweep import SweepWork, sweep_estimate

__all__ = ["SweepWork", "sweep_estimate"]
