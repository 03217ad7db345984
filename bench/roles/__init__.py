"""Client and server as processes that end with the bench."""
