"""Selection, threshold transfer and confidence intervals over records."""
