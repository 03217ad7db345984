"""The loops of published code, each in a file of its own: written anew, for measurement alone."""
