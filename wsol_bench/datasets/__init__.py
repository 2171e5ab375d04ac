"""Images and class labels; one reader per dataset family."""
