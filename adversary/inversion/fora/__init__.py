"""`fora`: a substitute of the client whose features are distributed as the captured ones."""
