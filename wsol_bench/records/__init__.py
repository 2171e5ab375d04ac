"""What a trained model predicted, written once and read by the judge."""
