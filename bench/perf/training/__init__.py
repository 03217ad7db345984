"""Speed of training, against plain loops."""
