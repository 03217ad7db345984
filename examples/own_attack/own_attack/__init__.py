"""Ridge regression from features to images, as an attack of SplitLab."""
