"""Every chosen split point of a network: measured, tabled, shown."""
