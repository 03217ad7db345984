"""What an attack is, what it is granted, and what it leaves on disk."""
