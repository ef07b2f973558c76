"""A run as one page that explains itself: graph, samples, curves, figures, costs."""

from framework.report.write import write_report

__all__ = ["write_report"]
