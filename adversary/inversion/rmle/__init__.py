"""`rmle`: gradient descent on the pixels, regularised."""
