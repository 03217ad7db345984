"""One file of pixels -> one 8-bit RGB image."""
