"""What a request takes at every deployment of a run, measured in turns."""
