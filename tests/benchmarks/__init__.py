"""Every benchmark of the project, run as ``python -m tests.benchmarks NAME``."""
