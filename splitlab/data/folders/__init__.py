"""Image folders and tars: which files, which sides, which classes."""
