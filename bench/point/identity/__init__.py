"""What one measurement depends on, which measurements are the same, and records found again."""
