"""The few-shot board of classifiers: draws, rows, comparison."""
