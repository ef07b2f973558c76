"""What benchmarks/step.py measures, a file for each kind of question."""
